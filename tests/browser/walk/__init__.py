"""The screens of the page, walked through clause by clause: one file a screen, or a part of one."""
