//! What a network makes of one fixed crop, as sections to look at: the same crop, mask and cut at every call, so that
//! pictures of different steps can be compared.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use super::decision::Undecided;
use super::objective::{Objective, ObjectiveContext, dbmim, next, next_all, random};
use super::panels::Panel;
use super::{Cut, CutView, MaskedView, PretrainConfig, PretrainingNetwork, TokenGrid, ViewPair};
use crate::data::{Sampler, sample_rng};
use crate::training::TrainError;

/// The step whose crop is shown; no run is that long.
const SHOWN_STEP: u64 = u64::MAX;

/// A crop with its masked and its cut version.
pub(super) struct ShownCrop {
    grid: TokenGrid,
    raw: Vec<f32>,
    masked: MaskedView,
    cut: Cut,
    view: CutView,
    views: Option<ViewPair>,
    undecided: Undecided,
    config: PretrainConfig,
    objectives: [bool; 3],
}

impl ShownCrop {
    /// Draws the crop that is shown during a run. It is cut in the middle.
    pub(super) fn draw(sampler: &Sampler, config: &PretrainConfig) -> Result<Self, TrainError> {
        let grid = config.grid()?;
        let quiet = PretrainConfig { perturbation: Some(0.0), ..config.clone() };
        let raw = sampler.crop(SHOWN_STEP, 0)?.raw;
        let rng = || -> ChaCha8Rng { sample_rng(config.seed, SHOWN_STEP, 0) };
        let masked = MaskedView::draw([(raw.as_slice(), rng())].into_iter(), &quiet)?;
        let cut = Cut::at(grid.path(config.path, &mut rng()), grid.tokens() / 2 + grid.grid_zyx()[2] / 2);
        let mut view = CutView::default();
        view.push(&raw, &cut, 1, &grid, &quiet, &mut rng());
        let (next, next_all) = config.predicts();
        let random = config.weights_at(0).random > 0.0;
        let crops = || [(raw.as_slice(), rng())].into_iter();
        let views = (config.objective == Objective::Byol).then(|| ViewPair::draw(crops(), &grid, 0));
        let undecided = Undecided::draw(crops(), &grid, 0);
        let objectives = [random, next, next_all];
        Ok(Self { grid, masked, cut, view, views, undecided, config: quiet, objectives, raw })
    }

    /// Panels of the section through the token behind the cut, without gradients.
    pub(super) fn panels(
        &self,
        model: &PretrainingNetwork,
        context: &ObjectiveContext,
    ) -> Result<Vec<Panel>, TrainError> {
        let target = self.grid.gather(&self.raw);
        let mut panels = vec![self.panel("TARGET", &self.raw)];
        if let Some(views) = &self.views {
            panels.push(self.panel("VIEW A", &views.inputs[0]));
            panels.push(self.panel("VIEW B", &views.inputs[1]));
        }
        if self.objectives[0] {
            let chosen = match &model.policy {
                Some(policy) => {
                    let tokens = context.tokens(&target, 1);
                    Some(dbmim::decide(context, policy, tokens, &self.undecided, &self.config)?.1)
                }
                None => None,
            };
            let view = chosen.as_ref().unwrap_or(&self.masked);
            let predicted = random::predict(context, &model.network, context.input(&view.input, 1));
            let masked: Vec<bool> = view.weights.iter().map(|w| *w > 0.0).collect();
            panels.push(self.panel("MASKED", &view.input));
            panels.push(self.panel("RANDOM", &self.merge(&target, &values(predicted)?, &masked)));
        }
        let Some(heads) = &model.heads else { return Ok(panels) };
        panels.push(self.panel("CUT", &self.view.input));
        let latents = next::latents(context, model, heads, &self.view);
        if let Some(predicted) = next::predict(context, heads, latents.clone(), &self.view) {
            // One token alone; the rest of the suffix stays as the network saw it.
            let mut tokens = self.grid.gather(&self.view.input);
            let voxels = self.grid.patch_voxels();
            let place = self.cut.next() * voxels;
            tokens[place..place + voxels].copy_from_slice(&values(predicted)?);
            panels.push(self.panel("NEXT", &self.grid.scatter(&tokens)));
        }
        if let Some(predicted) = next_all::predict(context, heads, latents) {
            let merged = self.merge(&target, &values(predicted)?, &self.view.hidden);
            panels.push(self.panel("NEXT ALL", &merged));
        }
        Ok(panels)
    }

    /// The target with the chosen tokens replaced by predicted ones, as voxels.
    fn merge(&self, target: &[f32], predicted: &[f32], chosen: &[bool]) -> Vec<f32> {
        let voxels = self.grid.patch_voxels();
        let mut tokens = target.to_vec();
        for (token, _) in chosen.iter().enumerate().filter(|(_, chosen)| **chosen) {
            let place = token * voxels..(token + 1) * voxels;
            tokens[place.clone()].copy_from_slice(&predicted[place]);
        }
        self.grid.scatter(&tokens)
    }

    fn panel(&self, title: &'static str, crop: &[f32]) -> Panel {
        let [_, height, width] = self.grid.crop_zyx();
        let patch_z = self.grid.patch_zyx()[0];
        let z = self.grid.position(self.cut.next())[0] * patch_z + patch_z / 2;
        let values = crop[z * height * width..(z + 1) * height * width].to_vec();
        Panel { title, values, width }
    }
}

fn values(tensor: Tensor<3>) -> Result<Vec<f32>, TrainError> {
    let data = tensor
        .try_into_data()
        .map_err(|e| TrainError::Device(format!("reading a reconstruction ({e:?})")))?;
    Ok(data.iter::<f32>().collect())
}
