"""Topics of many texts: sentence embeddings, clusters with their key words, and a map of them."""
