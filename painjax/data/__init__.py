"""Data: records on disk -> batches of uint8 arrays -> what the model is trained on."""
