//! Reading a Hugging Face folder.
