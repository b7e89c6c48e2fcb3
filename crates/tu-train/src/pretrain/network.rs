//! What is optimised: EMmamba with one output channel, and the heads that fine-tuning leaves behind.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use tu_model::EmMamba;
use tu_model::initialiser::Initialiser;
use tu_model::names::parameter_names;

use super::byol::ByolHeads;
use super::decision::MaskPolicy;
use super::{Objective, PretrainConfig, TokenHeads};
use crate::training::{NamedModule, TrainError, module_paths};

/// The seed of the heads is that of the run plus this, so that they share no numbers with the network.
const HEADS_SEED: u64 = 0x6865_6164;

/// The network under training.
#[derive(Module, Debug)]
pub struct PretrainingNetwork {
    /// What fine-tuning starts from.
    pub network: EmMamba,
    /// For objectives that predict tokens behind a cut.
    pub heads: Option<TokenHeads>,
    /// For views described alike.
    pub byol: Option<ByolHeads>,
    /// For masks that are chosen.
    pub policy: Option<MaskPolicy>,
}

impl PretrainingNetwork {
    /// A network with fresh heads of `features` channels, all of it trainable.
    ///
    /// # Errors
    /// Crop and patch do not go together.
    pub fn new(
        network: EmMamba,
        features: usize,
        config: &PretrainConfig,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let patch_voxels = config.grid()?.patch_voxels();
        let predicts = config.predicts();
        let mut init = Initialiser::new(device, config.seed.wrapping_add(HEADS_SEED));
        let heads = (predicts.0 || predicts.1)
            .then(|| TokenHeads::new(&config.heads, features, patch_voxels, predicts, &mut init));
        let byol = (config.objective == Objective::Byol)
            .then(|| ByolHeads::new(&config.byol_config(), features, &mut init));
        let policy = (config.objective == Objective::DbMim).then(|| {
            MaskPolicy::new(&config.decision_config(), patch_voxels, config.mask_ratio(), &mut init)
        });
        Ok(Self { network, heads, byol, policy }.map(&mut TrainAll))
    }
}

impl NamedModule for PretrainingNetwork {
    /// The network's published names, then the heads by their paths.
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        let mut parameters = parameter_names(&self.network);
        parameters.extend(self.heads.as_ref().map(NamedModule::parameters).unwrap_or_default());
        parameters.extend(self.byol.as_ref().map(NamedModule::parameters).unwrap_or_default());
        parameters.extend(self.policy.as_ref().map(NamedModule::parameters).unwrap_or_default());
        parameters
    }
}

impl NamedModule for TokenHeads {
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        module_paths(self, "heads")
    }
}

struct TrainAll;

impl ModuleMapper for TrainAll {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(true)
    }
}
