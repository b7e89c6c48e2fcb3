//! Training EMmamba and what surrounds it.

pub mod calibration;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod finetune;
pub mod import;
pub mod metrics_log;
pub mod phantom;
pub mod pretrain;
pub mod report;
pub mod roi;
pub mod segment;
pub mod selfcheck;
pub mod training;
