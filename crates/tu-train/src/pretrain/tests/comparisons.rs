//! The objectives that the method is compared with.

use super::*;
use crate::pretrain::byol::{self, ByolTarget};
use crate::pretrain::objective::dbmim;

fn of(objective: Objective) -> PretrainConfig {
    PretrainConfig {
        objective,
        byol: Some(ByolConfig { hidden: 12, width: 6, ..ByolConfig::default() }),
        decision: Some(DecisionConfig { hidden: 8, ..DecisionConfig::default() }),
        ..micro(PathKind::Raster, 0.0)
    }
}

#[test]
fn nothing_of_tokens_that_the_policy_masked_reaches_the_input() {
    let config = PretrainConfig { perturbation: Some(1.0), ..of(Objective::DbMim) };
    let (grid, raw) = (config.grid().unwrap(), crop(&config, 1));
    let probabilities: Vec<f32> = (0..32).map(|t| if t % 3 == 0 { 0.95 } else { 0.3 }).collect();
    for step in 0..5 {
        let decide = |raw: &[f32]| {
            let batch = micro_batch(&config, &[raw], step);
            assert!(batch.masked.is_none() && batch.cuts.is_empty());
            batch.undecided.unwrap().decide(&probabilities, &grid, &config)
        };
        let before = decide(&raw);
        let masked: Vec<bool> = before.weights.iter().map(|w| *w > 0.0).collect();
        assert!((before.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(before, decide(&changed(&grid, &raw, |t| masked[t])));
        assert_ne!(before, decide(&changed(&grid, &raw, |t| !masked[t])));
    }
}

#[test]
fn the_policy_learns_from_rewards_alone_and_the_network_from_the_reconstruction_alone() {
    let config = of(Objective::DbMim);
    let losses = |context: &ObjectiveContext, model: &PretrainingNetwork, batch: &MicroBatch| {
        let (undecided, policy) = (batch.undecided.as_ref().unwrap(), model.policy.as_ref().unwrap());
        dbmim::losses(context, &model.network, policy, batch, undecided, &config).unwrap()
    };
    let network = reached(&config, |c, m, b| losses(c, m, b).reconstruction);
    assert!(network.iter().any(|n| n.starts_with("out.")) && network.iter().any(|n| n.starts_with("vit.")));
    assert!(!network.iter().any(|n| n.starts_with("policy.")), "{network:?}");
    let policy = reached(&config, |c, m, b| losses(c, m, b).policy);
    assert!(policy.iter().all(|n| n.starts_with("policy.")), "{policy:?}");
    assert!(
        policy.iter().any(|n| n == "policy.actor.weight")
            && policy.iter().any(|n| n == "policy.critic.weight")
    );
}

#[test]
fn views_train_the_network_and_the_online_heads_but_not_the_output_layer() {
    let config = of(Objective::Byol);
    let names = reached(&config, |context, model, batch| {
        let target = ByolTarget::of(model).unwrap();
        let (heads, views) = (model.byol.as_ref().unwrap(), batch.views.as_ref().unwrap());
        byol::loss(&context.grid, model, heads, &target, views, &context.device).0
    });
    for part in ["vit.stages.3.0.mamba.in_proj", "decoder1.", "byol.projector.", "byol.predictor."] {
        assert!(names.iter().any(|n| n.starts_with(part)), "{part} is not reached");
    }
    assert!(!names.iter().any(|n| n.starts_with("out.")));
}

#[test]
fn a_target_follows_the_online_network_by_its_momentum() {
    let config = of(Objective::Byol);
    let device = Device::flex().autodiff();
    let (start, other) = (model(&config, &device), {
        let moved = PretrainConfig { seed: 8, ..config.clone() };
        let architecture = config.resolved_architecture().unwrap();
        let network = architecture.init_seeded(&device, 9);
        PretrainingNetwork::new(network, architecture.features[0], &moved, &device).unwrap()
    });
    let numbers = |target: &ByolTarget| {
        let bytes = target.to_bytes().unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut named: Vec<(String, Vec<f32>)> = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                (name, view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
            })
            .collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    };
    let target = ByolTarget::of(&start).unwrap();
    let goal = numbers(&ByolTarget::of(&other).unwrap());
    let before = numbers(&target);
    let after = numbers(&target.follow(&other, 0.9));
    assert_eq!(before.len(), goal.len());
    for ((before, goal), after) in before.iter().zip(&goal).zip(&after) {
        assert_eq!((&before.0, &goal.0), (&goal.0, &after.0));
        for ((old, new), moved) in before.1.iter().zip(&goal.1).zip(&after.1) {
            assert!((0.9 * old + 0.1 * new - moved).abs() < 1e-5, "{}", before.0);
        }
    }
    assert!(before != after);
}

#[test]
fn the_loss_of_two_views_depends_on_which_places_are_paired() {
    let (config, device) = (of(Objective::Byol), Device::flex().autodiff());
    let (context, model) = (context(&config, &device), model(&config, &device));
    let batch = micro_batch(&config, &[&crop(&config, 1), &crop(&config, 2)], 3);
    let target = ByolTarget::of(&model).unwrap();
    let (heads, views) = (model.byol.as_ref().unwrap(), batch.views.as_ref().unwrap());
    let loss = |views: &ViewPair| {
        byol::loss(&context.grid, &model, heads, &target, views, &device).0.into_scalar::<f32>()
    };
    assert!((0.0..4.0).contains(&loss(views)), "between agreement and opposition: {}", loss(views));
    let mut shifted = views.clone();
    shifted.places.rotate_left(5);
    assert_ne!(loss(views), loss(&shifted));
}
