//! The digits CNN: which digit somebody wrote.
//!
//! The invariant: a picture reaches the network as the network's training digits were made, by [`picture`], whatever it was before.

pub mod narrow;
pub mod picture;

use crate::quantize::QuantizeError;
use attention_variants::hf::{LoadError, Source};
use memory_hierarchy::conv::{Algorithm, Cnn, CnnWeights, ConvWeights, softmax};
use memory_hierarchy::{Isa, Pool};
use narrow::NarrowCnn;
use numerics::quant::Scheme;
use picture::SIDE;

/// What can be told apart.
pub const CLASSES: usize = 10;
/// Channels of the image, and of each convolution.
const CHANNELS: [usize; 3] = [1, 16, 32];

/// The network, ready to read digits.
pub struct Digits {
    network: Network,
    pool: Pool,
    isa: Isa,
}

enum Network {
    Float(Cnn),
    /// One image after another; the logits of all.
    Int8(NarrowCnn<i8>, Vec<f32>),
}

impl Digits {
    /// Loads the weights `conv1.weight [16, 1, 3, 3]`, `conv1.bias`, `conv2.weight [32, 16, 3, 3]`, `conv2.bias`, `fc.weight [10, 1568]`
    /// and `fc.bias`, to read up to `batch` digits at a time on `threads` threads.
    ///
    /// # Errors
    /// A file that is not safetensors, or whose tensors are others.
    pub fn load(source: &Source, batch: usize, threads: usize) -> Result<Self, LoadError> {
        let pool = Pool::new(threads);
        let weights = weights(source)?;
        Ok(Self {
            network: Network::Float(Cnn::new(&weights, Algorithm::Im2col, batch, &pool)),
            pool,
            isa: Isa::detect(),
        })
    }

    /// The same in integers of 8 bits, on both sides of each product.
    ///
    /// # Errors
    /// As [`Digits::load`], and weights that are not finite.
    pub fn load_int8(source: &Source, threads: usize) -> Result<Self, QuantizeError> {
        let at = |source| QuantizeError::Quant {
            tensor: "the digits network".to_owned(),
            source,
        };
        let network = NarrowCnn::<i8>::new(&weights(source)?, Scheme::int(8)).map_err(at)?;
        Ok(Self {
            network: Network::Int8(network, Vec::new()),
            pool: Pool::new(threads),
            isa: Isa::detect(),
        })
    }

    /// Logits `[n, 10]` of `images [n, 28, 28]`, ink at 1.
    ///
    /// # Panics
    /// If there are more images than the batch that was asked for.
    pub fn logits(&mut self, images: &[f32]) -> &[f32] {
        match &mut self.network {
            Network::Float(cnn) => cnn.forward(&self.pool, self.isa, images),
            Network::Int8(cnn, logits) => {
                logits.clear();
                for image in images.chunks(SIDE * SIDE) {
                    logits.extend_from_slice(cnn.logits(&self.pool, image));
                }
                logits
            }
        }
    }

    /// The probability of each digit.
    pub fn probabilities(&mut self, image: &[f32; SIDE * SIDE]) -> [f32; CLASSES] {
        let mut probabilities = [0.0; CLASSES];
        probabilities.copy_from_slice(self.logits(image));
        softmax(&mut probabilities);
        probabilities
    }
}

/// The weights of the network, by name and shape, and no others.
///
/// # Errors
/// As [`Digits::load`].
pub fn weights(source: &Source) -> Result<CnnWeights, LoadError> {
    let mut file = source.weights()?;
    let mut convolutions = Vec::new();
    for (layer, channels) in CHANNELS.windows(2).enumerate() {
        let name = |part| format!("conv{}.{part}", layer + 1);
        convolutions.push(ConvWeights {
            filters: file.tensor(&name("weight"), &[channels[1], channels[0], 3, 3])?,
            bias: file.tensor(&name("bias"), &[channels[1]])?,
        });
    }
    let flat = CHANNELS[2] * (SIDE / 4) * (SIDE / 4);
    let weights = CnnWeights {
        side: SIDE,
        convolutions,
        linear: file.tensor("fc.weight", &[CLASSES, flat])?,
        linear_bias: file.tensor("fc.bias", &[CLASSES])?,
    };
    file.finish_all()?;
    Ok(weights)
}
