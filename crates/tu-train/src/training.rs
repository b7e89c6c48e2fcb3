//! What every training run is made of, whatever it minimises: AdamW and its schedule on named parameters, the state of
//! a run, its stop signal, what it shows and draws.

mod average;
mod curves;
mod error;
mod moments;
mod optimiser;
mod optimiser_config;
mod parameters;
mod progress;
mod run_folder;
mod run_lock;
mod schedule;
mod session;
mod settings;
mod share_out;
mod state;
mod stop;
mod training_device;
mod transfer;

pub use average::{WeightAverage, check_momentum, moving_average, target_momentum};
pub use curves::draw_curves;
pub use error::TrainError;
pub use optimiser::{AdamW, NamedGradients, decays};
pub use optimiser_config::OptimiserConfig;
pub use parameters::NamedModule;
pub use run_folder::TrainOptions;
pub use schedule::learning_rate;
pub use state::{RunSettings, TrainingState};
pub use stop::StopSignal;
pub use transfer::{LoadReport, transfer};

pub(crate) use curves::glyphs;
pub(crate) use parameters::{from_safetensors, module_paths, to_safetensors};
pub(crate) use progress::Progress;
pub(crate) use run_folder::{checkpoint_file, find_checkpoint, is_due, load_model, with_known_answer};
pub(crate) use run_lock::RunLock;
pub(crate) use session::{Session, Task, optimise};
pub(crate) use settings::{check_crops, is_f32, named_architecture, read_settings, settings_toml};
pub(crate) use share_out::{Replica, share_out};
pub(crate) use training_device::TrainingDevices;
