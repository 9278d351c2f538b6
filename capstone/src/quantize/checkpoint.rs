//! A model's folder in memory: tensors by name, and the other files as they are.

use super::QuantizeError;
use attention_variants::hf::Source;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// The file that the weights are written to.
const WEIGHTS: &str = "model.safetensors";

/// One tensor, in the bytes of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

/// A Hugging Face folder.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Every tensor of every shard.
    pub tensors: BTreeMap<String, Tensor>,
    /// Every other file, such as config.json and tokenizer.json.
    pub files: BTreeMap<String, Cow<'static, [u8]>>,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Tensor {
    /// A tensor of 32-bit floats.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        Self::floats(Dtype::F32, shape, values)
    }

    /// Numbers rounded to a float type; those that are none of F32, F16 and BF16 are stored as F32.
    pub fn floats(dtype: Dtype, shape: &[usize], values: &[f32]) -> Self {
        let (dtype, bytes) = match dtype {
            Dtype::F16 => (
                dtype,
                bytes(values, |value| f16::from_f32(value).to_le_bytes()),
            ),
            Dtype::BF16 => (
                dtype,
                bytes(values, |value| bf16::from_f32(value).to_le_bytes()),
            ),
            _ => (Dtype::F32, bytes(values, f32::to_le_bytes)),
        };
        Self {
            dtype,
            shape: shape.to_vec(),
            bytes,
        }
    }

    /// The elements, widened; `None` if they are not floats of 16 or 32 bits.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.dtype {
            Dtype::F32 => Some(decode(&self.bytes, f32::from_le_bytes)),
            Dtype::F16 => Some(decode(&self.bytes, |it| f16::from_le_bytes(it).to_f32())),
            Dtype::BF16 => Some(decode(&self.bytes, |it| bf16::from_le_bytes(it).to_f32())),
            _ => None,
        }
    }
}

/// Each element's bytes, one after another.
pub fn bytes<T: Copy, const WIDTH: usize>(values: &[T], of: impl Fn(T) -> [u8; WIDTH]) -> Vec<u8> {
    values.iter().flat_map(|&value| of(value)).collect()
}

fn decode<const WIDTH: usize>(bytes: &[u8], element: impl Fn([u8; WIDTH]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|it| element(*it)).collect()
}

impl Checkpoint {
    /// Reads a folder, or the embedded model.
    ///
    /// # Errors
    /// Files that cannot be read or are no safetensors; a source that is no folder.
    pub fn read(source: &Source) -> Result<Self, QuantizeError> {
        let mut checkpoint = Self::default();
        match source {
            Source::Embedded(files) => {
                for (name, content) in *files {
                    checkpoint.add(name, Cow::Borrowed(content))?;
                }
            }
            Source::Dir(folder) => {
                let entries = std::fs::read_dir(folder).map_err(QuantizeError::io(folder))?;
                for entry in entries {
                    let path = entry.map_err(QuantizeError::io(folder))?.path();
                    if path.is_file() {
                        let content = std::fs::read(&path).map_err(QuantizeError::io(&path))?;
                        let name = path.file_name().unwrap_or_default().to_string_lossy();
                        checkpoint.add(&name, Cow::Owned(content))?;
                    }
                }
            }
            Source::File(_) | Source::Gguf(_) => {
                return Err(QuantizeError::Unsupported(
                    "a single file is not quantised: give the Hugging Face folder that the model was published in".to_owned(),
                ));
            }
        }
        Ok(checkpoint)
    }

    fn add(&mut self, name: &str, content: Cow<'static, [u8]>) -> Result<(), QuantizeError> {
        // All tensors go to one file, so that the index of the shards would name files that are not there.
        if name.ends_with(".safetensors.index.json") {
            return Ok(());
        }
        if !name.ends_with(".safetensors") {
            self.files.insert(name.to_owned(), content);
            return Ok(());
        }
        let parsed =
            SafeTensors::deserialize(&content).map_err(|source| QuantizeError::Safetensors {
                file: name.to_owned(),
                source,
            })?;
        for (name, view) in parsed.iter() {
            let tensor = Tensor {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            };
            self.tensors.insert(name.to_owned(), tensor);
        }
        Ok(())
    }

    /// Writes the folder, which is made where it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, folder: &Path) -> Result<(), QuantizeError> {
        std::fs::create_dir_all(folder).map_err(QuantizeError::io(folder))?;
        for (name, content) in &self.files {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(QuantizeError::io(&path))?;
        }
        let path = folder.join(WEIGHTS);
        // What `transformers` asks for before it opens a file.
        let info = [("format".to_owned(), "pt".to_owned())].into();
        let content = safetensors::serialize(&self.tensors, Some(info)).map_err(|source| {
            QuantizeError::Safetensors {
                file: path.display().to_string(),
                source,
            }
        })?;
        std::fs::write(&path, content).map_err(QuantizeError::io(&path))
    }

    /// A weight matrix, widened.
    ///
    /// # Errors
    /// There is none of this name, or not of floats.
    pub fn matrix(&self, name: &str) -> Result<(Vec<f32>, [usize; 2]), QuantizeError> {
        let tensor = self.tensors.get(name);
        let floats = tensor.and_then(|tensor| Some((tensor.to_f32()?, tensor.shape.as_slice())));
        match floats {
            Some((values, &[rows, cols])) => Ok((values, [rows, cols])),
            _ => Err(QuantizeError::Unsupported(format!(
                "tensor {name} is not a matrix of F32, F16 or BF16: quantise the checkpoint that the model was published in"
            ))),
        }
    }

    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.bytes.len()).sum()
    }
}
