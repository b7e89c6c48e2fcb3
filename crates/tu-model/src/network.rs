//! The EMmamba graph: a Mamba encoder (`vit`) whose four scales feed a convolutional encoder-decoder.
//!
//! ```text
//! e1 = enc1(raw)            full resolution          d5 = dec5(e5, e4)   d2 = dec2(d3, e1)
//! e_{i+2} = enc(o_i)        o_i = MLP(IN(stage i))   …                   d1 = dec1(d2)
//! e5 = enc5(o_3)            at /16                   logits = out(d1)
//! ```
//! Stage i: down-sample → GSC → Mamba layers; o_i leaves through the skip only and is not fed to stage i+1.

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{FloatDType, Tensor};

use crate::config::EmMambaConfig;
use crate::initialiser::Initialiser;
use crate::layers::norm::instance_norm;
use crate::layers::{ChannelMlp, Conv, GatedSpatialConv, MambaLayer, ResBlock, UpBlock};
use crate::precision::Precision;

/// The four-stage Mamba encoder.
#[derive(Module, Debug)]
pub struct MambaEncoder {
    /// Stem (1,7,7) and three (1,2,2) down-samplers; more along z with a plan for it.
    pub downsample_layers: Vec<Conv>,
    /// One per stage.
    pub gscs: Vec<GatedSpatialConv>,
    /// Mamba layers per stage.
    pub stages: Vec<Vec<MambaLayer>>,
    /// One per stage, on the way out.
    pub mlps: Vec<ChannelMlp>,
}

impl MambaEncoder {
    fn new(config: &EmMambaConfig, init: &mut Initialiser) -> Self {
        let f = config.features;
        let (strides, kernels) = (config.z_strides(), config.z_down_kernels());
        let downsample_layers = (0..4)
            .map(|i| match (kernels[i], [strides[i], 2, 2]) {
                (kz, stride) if i == 0 => {
                    Conv::new([config.in_channels, f[0]], [kz, 7, 7], stride, [kz / 2, 3, 3], true, init)
                }
                (kz, stride) => Conv::new([f[i - 1], f[i]], [kz, 2, 2], stride, [0; 3], true, init),
            })
            .collect();
        Self {
            downsample_layers,
            gscs: f.iter().map(|&c| GatedSpatialConv::new(c, init)).collect(),
            stages: (0..4)
                .map(|i| (0..config.depths[i]).map(|_| MambaLayer::new(f[i], config, init)).collect())
                .collect(),
            mlps: f.iter().map(|&c| ChannelMlp::new(c, init)).collect(),
        }
    }

    /// The four outputs o_0 … o_3, finest first.
    pub fn forward(&self, raw: Tensor<5>) -> Vec<Tensor<5>> {
        let mut x = raw;
        let mut outputs = Vec::with_capacity(4);
        let stages = self.downsample_layers.iter().zip(&self.gscs).zip(&self.stages).zip(&self.mlps);
        for (i, (((down, gsc), layers), mlp)) in stages.enumerate() {
            let input = if i == 0 { x } else { instance_norm(x) };
            x = gsc.forward(down.forward(input));
            for layer in layers {
                x = layer.forward(x);
            }
            outputs.push(mlp.forward(instance_norm(x.clone())));
        }
        outputs
    }
}

/// EMmamba.
#[derive(Module, Debug)]
pub struct EmMamba {
    /// Mamba encoder.
    pub vit: MambaEncoder,
    /// Full resolution, from the raw input.
    pub encoder1: ResBlock,
    /// /2.
    pub encoder2: ResBlock,
    /// /4.
    pub encoder3: ResBlock,
    /// /8.
    pub encoder4: ResBlock,
    /// /16.
    pub encoder5: ResBlock,
    /// /16 → /8.
    pub decoder5: UpBlock,
    /// /8 → /4.
    pub decoder4: UpBlock,
    /// /4 → /2.
    pub decoder3: UpBlock,
    /// /2 → full resolution.
    pub decoder2: UpBlock,
    /// Full resolution.
    pub decoder1: ResBlock,
    /// The head, 1×1×1 with bias.
    pub out: Conv,
    /// The type of volumes within the network.
    #[module(skip)]
    pub precision: Precision,
}

impl EmMamba {
    /// Builds the network that `config` describes.
    pub fn new(config: &EmMambaConfig, init: &mut Initialiser) -> Self {
        let ([f0, f1, f2, f3], h) = (config.features, config.hidden);
        let sz = config.z_strides();
        let k = config.block_kernels();
        Self {
            vit: MambaEncoder::new(config, init),
            encoder1: ResBlock::new(config.in_channels, f0, k[0], init),
            encoder2: ResBlock::new(f0, f1, k[1], init),
            encoder3: ResBlock::new(f1, f2, k[2], init),
            encoder4: ResBlock::new(f2, f3, k[3], init),
            encoder5: ResBlock::new(f3, h, k[4], init),
            decoder5: UpBlock::new(h, f3, sz[3], k[3], init),
            decoder4: UpBlock::new(f3, f2, sz[2], k[2], init),
            decoder3: UpBlock::new(f2, f1, sz[1], k[1], init),
            decoder2: UpBlock::new(f1, f0, sz[0], k[0], init),
            decoder1: ResBlock::new(f0, f0, k[0], init),
            out: Conv::pointwise([f0, config.out_channels], true, init),
            precision: Precision::F32,
        }
    }

    /// The network with everything computed that follows from its weights alone: for inference. What changes weights takes it
    /// back, and gradients are recorded without it.
    #[must_use]
    pub fn prepared(mut self) -> Self {
        self.vit.downsample_layers.iter_mut().for_each(Conv::prepare);
        self.vit.gscs.iter_mut().for_each(GatedSpatialConv::prepare);
        self.vit.stages.iter_mut().flatten().for_each(MambaLayer::prepare);
        for block in [
            &mut self.encoder1,
            &mut self.encoder2,
            &mut self.encoder3,
            &mut self.encoder4,
            &mut self.encoder5,
            &mut self.decoder5.conv_block,
            &mut self.decoder4.conv_block,
            &mut self.decoder3.conv_block,
            &mut self.decoder2.conv_block,
            &mut self.decoder1,
        ] {
            block.prepare();
        }
        self
    }

    /// `[B, in, D, H, W]` with values in [0, 1] to logits `[B, out, D, H, W]`, f32.
    ///
    /// # Panics
    /// When the window does not satisfy [`EmMambaConfig::check_window`]; [`crate::Network`] checks it.
    pub fn forward_logits(&self, raw: Tensor<5>) -> Tensor<5> {
        self.out.forward(self.forward_features(raw))
    }

    /// What the head sees: the decoder's output d1, `[B, f0, D, H, W]` at full resolution, f32.
    ///
    /// # Panics
    /// As [`Self::forward_logits`].
    pub fn forward_features(&self, raw: Tensor<5>) -> Tensor<5> {
        let raw = raw.cast(self.precision.dtype());
        let mut skips = self.vit.forward(raw.clone()).into_iter();
        let mut next = || skips.next().unwrap_or_else(|| unreachable!("the encoder has four stages"));
        let e1 = self.encoder1.forward(raw);
        let e2 = self.encoder2.forward(next());
        let e3 = self.encoder3.forward(next());
        let e4 = self.encoder4.forward(next());
        let e5 = self.encoder5.forward(next());
        let d5 = self.decoder5.forward(e5, e4);
        let d4 = self.decoder4.forward(d5, e3);
        let d3 = self.decoder3.forward(d4, e2);
        let d2 = self.decoder2.forward(d3, e1);
        self.decoder1.forward(d2).cast(FloatDType::F32)
    }

    /// As [`Self::forward_logits`], through the sigmoid: affinities (or intensities) in (0, 1).
    ///
    /// # Panics
    /// As [`Self::forward_logits`].
    pub fn forward(&self, raw: Tensor<5>) -> Tensor<5> {
        sigmoid(self.forward_logits(raw))
    }
}
