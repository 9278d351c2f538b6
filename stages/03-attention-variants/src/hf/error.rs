//! What can be wrong with a Hugging Face folder. Every variant names the file and the field or tensor, and says what to do.

/// Why a folder did not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refused a file.
    #[error("{file}: cannot be read: {source}; check that the path is right and readable")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that must be there is not.
    #[error("{file}: not found; {advice}")]
    MissingFile {
        /// The file.
        file: String,
        /// What would put it there.
        advice: &'static str,
    },
    /// A file is not JSON.
    #[error("{file}: not valid JSON: {message}; download the file again")]
    Json {
        /// The file.
        file: String,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A field that changes the arithmetic is absent.
    #[error("{file}: field `{field}` is missing; add it as the model's publisher has it")]
    MissingField {
        /// The file.
        file: String,
        /// The field, with dots for nested ones.
        field: String,
    },
    /// A field holds another JSON type than it should.
    #[error("{file}: field `{field}` must be {expected}, found {found}; correct the field")]
    WrongType {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// The type that it should have.
        expected: &'static str,
        /// What it holds, shortened.
        found: String,
    },
    /// A field's value is impossible or contradicts another.
    #[error("{file}: field `{field}` is {value}, but must be {expected}; correct the field")]
    BadValue {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What would do.
        expected: String,
    },
    /// No definition for this kind of model.
    #[error(
        "{file}: field `model_type` is `{model_type}`, which is not a known family; known are {known}"
    )]
    UnknownFamily {
        /// The file.
        file: String,
        /// The family asked for.
        model_type: String,
        /// The families that load.
        known: String,
    },
    /// A legal value that changes the arithmetic in a way that is not implemented.
    #[error("{file}: field `{field}` is {value}, which is not supported: {why}")]
    Unsupported {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What it would need, or what to use instead.
        why: &'static str,
    },
    /// A tensor of the model is in no file.
    #[error(
        "{file}: tensor `{name}` is missing; the checkpoint does not fit its configuration, or a download is incomplete"
    )]
    MissingTensor {
        /// The checkpoint.
        file: String,
        /// The tensor.
        name: String,
    },
    /// Tensors that the model has no use for: a sign that it is another model than config.json says.
    #[error(
        "{file}: {count} tensors have no place in the model, such as {names}; check the configuration against the checkpoint"
    )]
    ExtraTensors {
        /// The checkpoint.
        file: String,
        /// How many.
        count: usize,
        /// The first few.
        names: String,
    },
    /// A tensor has another shape than config.json implies.
    #[error(
        "{file}: tensor `{name}` has shape {found:?}, but the configuration implies {expected:?}; correct one of them"
    )]
    WrongShape {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The shape that the model needs.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's elements are of a type that does not load.
    #[error(
        "{file}: tensor `{name}` is stored as {found}, which does not load; convert the checkpoint to one of F32, F16 and BF16, \
         or GGUF's Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K"
    )]
    WrongDtype {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A safetensors or GGUF file ends before its content does.
    #[error(
        "{file}: ends after {found} bytes, but {what} needs {expected}; download the file again"
    )]
    Truncated {
        /// The file.
        file: String,
        /// What did not fit.
        what: String,
        /// Bytes that it would take.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A safetensors file breaks the rules of its format.
    #[error("{file}: not a valid safetensors file: {problem}; download or convert it again")]
    BadSafetensors {
        /// The file.
        file: String,
        /// The rule and the tensor that breaks it.
        problem: String,
    },
    /// A GGUF file breaks the rules of its format.
    #[error("{file}: not a valid GGUF file: {problem}; download or convert it again")]
    BadGguf {
        /// The file.
        file: String,
        /// The rule, and the field or tensor that breaks it.
        problem: String,
    },
    /// The index of a sharded checkpoint and its shards disagree.
    #[error("{file}: does not agree with its shards: {problem}; download index and shards again")]
    BadIndex {
        /// The index.
        file: String,
        /// The tensor and the shard.
        problem: String,
    },
    /// The embedding is said to be the output projection, but the file holds another one.
    #[error(
        "{file}: config.json says tie_word_embeddings, but `{name}` differs from the embedding; \
         set tie_word_embeddings to false or remove the tensor"
    )]
    NotTied {
        /// The checkpoint.
        file: String,
        /// The output projection.
        name: String,
    },
    /// tokenizer.json is JSON, but not a tokenizer.
    #[error(
        "{file}: not a usable tokenizer: {message}; save it again with a current version of `tokenizers`"
    )]
    Tokenizer {
        /// The file.
        file: String,
        /// The tokenizer library's words.
        message: String,
    },
    /// The chat template does not compile.
    #[error("{file}: the chat template does not compile: {message}; correct the template")]
    Template {
        /// The file.
        file: String,
        /// The template engine's words, with the line.
        message: String,
    },
}

impl LoadError {
    /// The same error about a field that this file calls otherwise.
    pub(super) fn renamed(mut self, name: impl FnOnce(&str) -> String) -> Self {
        if let Self::MissingField { field, .. }
        | Self::WrongType { field, .. }
        | Self::BadValue { field, .. }
        | Self::Unsupported { field, .. } = &mut self
        {
            *field = name(field);
        }
        self
    }
}
