"""Named entities: a tag for each word by a trained encoder or by features of the words, and the spans they make."""
