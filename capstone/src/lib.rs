//! fastserve: an OpenAI-compatible server that runs Hugging Face models.
