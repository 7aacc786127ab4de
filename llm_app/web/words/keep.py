"""Words of the kept conversations and of the sampling presets."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "conversations": ("Conversations", "对话列表"),
    "search": ("Search all messages", "搜索全部消息"),
    "title": ("Title", "标题"),
    "title_help": (
        "Of the conversation in sight; empty, it is the beginning of the first message.",
        "当前对话的标题；留空则取第一条消息的开头。",
    ),
    "untitled": ("Untitled", "无标题"),
    "delete": ("Delete", "删除"),
    "deleted": ("The conversation was deleted.", "对话已删除。"),
    "undo_delete": ("Undo", "撤销删除"),
    "export_json": ("Export JSON", "导出 JSON"),
    "export_markdown": ("Export Markdown", "导出 Markdown"),
    "nothing_to_export": ("There is no conversation to export yet.", "还没有可以导出的对话。"),
    "import": ("Import a file…", "导入文件……"),
    "imported_n": ("Imported: {n:,}. The first one is shown.", "已导入 {n:,} 个对话，现在显示第一个。"),
    "file_too_large": ("The file is larger than {max} MB.", "文件超过 {max} MB。"),
    "file_not_text": (
        "The file is empty or not UTF-8 text. Export it as JSON and import it again.",
        "文件为空，或不是 UTF-8 文本。请导出为 JSON 后重新导入。",
    ),
    "import_no_room": (
        "These conversations ({n:,}) do not fit beside what this browser keeps. Delete some, or import fewer.",
        "浏览器已没有空间再保存这 {n:,} 个对话。请先删除一些，或减少导入的数量。",
    ),
    "kept_gone": (
        "This browser's room is used up: the oldest conversations had to go ({n:,}). Export what you want to keep.",
        "浏览器的保存空间已满，最早的 {n:,} 个对话已被移除。需要保留的对话请及时导出。",
    ),
    "kept_in_browser": (
        "Kept in this browser only, the same in all of its tabs.",
        "对话只保存在此浏览器中，各标签页共用。",
    ),
    "nothing_kept": (
        "Nothing yet. Every conversation is kept here after its first message.",
        "还没有内容。发出第一条消息后，对话会自动保存在这里。",
    ),
    "nothing_found": ("No conversation contains this.", "没有对话包含这些文字。"),
    "n_more": ("and {n:,} more; search to find them", "另有 {n:,} 个，可通过搜索查找"),
    "some_day": ("no date", "无日期"),
    "damaged_files": (
        "Not read, and left as they are: {n:,} ({names}).",
        "无法读取、保持原样的文件：{n:,} 个（{names}）。",
    ),
    "preset": ("Preset", "预设"),
    "preset_help": (
        "Sets all sampling options at once; neutral changes nothing of the model's own distribution.",
        "一次设置全部采样选项；“中性”不改变模型自身的分布。",
    ),
    "preset_balanced": ("Balanced", "均衡"),
    "preset_neutral": ("Neutral samplers", "中性"),
    "preset_exact": ("Exact", "精确"),
    "preset_own": ("Custom", "自定义"),
    "preset_edit": ("Save or delete a preset", "保存或删除预设"),
    "preset_name": ("Name", "名称"),
    "preset_save": ("Save", "保存"),
    "preset_delete": ("Delete", "删除"),
    "preset_saved": ("Saved.", "已保存。"),
    "preset_deleted": ("Deleted; the options stay as they are.", "已删除，当前选项保持不变。"),
    "preset_built_in": ("This preset is always there and cannot be deleted.", "内置预设不能删除。"),
    "preset_gone": ("There is no such preset any more. Choose another.", "该预设已不存在，请另选一个。"),
}
