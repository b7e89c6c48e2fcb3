//! One row with one seed: its commands, and the record that keeps it from being run twice.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tu_segment::Scores;
use tu_train::checkpoint::write_file;
use tu_train::training::StopSignal;

use super::super::Common;
use super::execute;

/// A row of the table with one seed.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) folder: PathBuf,
    /// What decides the result beside the commands.
    pub(super) inputs: Map<String, Value>,
    /// In their order; the last one gives the scores.
    pub(super) commands: Vec<Vec<String>>,
}

/// What a row came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RowResult {
    pub(super) row: String,
    pub(super) seed: u64,
    pub(super) inputs: Map<String, Value>,
    pub(super) commands: Vec<Vec<String>>,
    pub(super) scores: Scores,
    /// Parameters that fine-tuning trained.
    pub(super) trained_parameters: Option<u64>,
    /// Loss of the last step of pretraining, where there was one.
    pub(super) pretraining_loss: Option<f64>,
    pub(super) seconds: f64,
}

impl Row {
    /// The result, and whether it was computed now.
    pub(super) fn run(&self, common: &Common, device: &str) -> anyhow::Result<(RowResult, bool)> {
        if let Some(kept) = self.kept()? {
            say(
                common,
                &format!("{}, seed {}: finished before, VOI {:.4}", self.name, self.seed, kept.scores.voi),
            );
            return Ok((kept, false));
        }
        let started = Instant::now();
        let (mut trained_parameters, mut pretraining_loss, mut last) = (None, None, Value::Null);
        for command in &self.commands {
            say(common, &format!("{}, seed {}: tu-train {}", self.name, self.seed, command.join(" ")));
            let mut full = command.clone();
            if full.first().is_some_and(|name| name != "evaluate") {
                full.extend(["--device".to_owned(), device.to_owned()]);
            }
            last = execute(common, &full)?;
            // Training ends by itself when it is asked to; a signal during any other command counts once that is done.
            if StopSignal::of_process().is_raised() {
                bail!("{}, seed {}: it was stopped: the same command goes on with it", self.name, self.seed);
            }
            match last["command"].as_str() {
                Some("pretrain") => pretraining_loss = last["loss"].as_f64(),
                Some("finetune") => trained_parameters = last["trained_parameters"].as_u64(),
                _ => {}
            }
        }
        let result = RowResult {
            row: self.name.clone(),
            seed: self.seed,
            inputs: self.inputs.clone(),
            commands: self.commands.clone(),
            scores: serde_json::from_value(last).context("evaluate: its result has no scores")?,
            trained_parameters,
            pretraining_loss,
            seconds: started.elapsed().as_secs_f64(),
        };
        let record = self.record();
        let text = serde_json::to_vec_pretty(&result).context("the row has no JSON form")?;
        write_file(&record, &text).with_context(|| {
            format!("{}: cannot be written: check space and permissions", record.display())
        })?;
        Ok((result, true))
    }

    fn record(&self) -> PathBuf {
        self.folder.join("result.json")
    }

    /// The result of an earlier run with the same commands.
    fn kept(&self) -> anyhow::Result<Option<RowResult>> {
        let record = self.record();
        let bytes = match std::fs::read(&record) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => bail!("{}: cannot be read: {e}: check its permissions", record.display()),
        };
        let kept: RowResult = serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: it is damaged: delete that folder to run the row again", record.display())
        })?;
        if kept.commands != self.commands || kept.inputs != self.inputs {
            bail!(
                "{}: it was made with other options or another model: choose another --out, or delete that folder",
                record.display()
            );
        }
        Ok(Some(kept))
    }
}

fn say(common: &Common, text: &str) {
    if !common.quiet {
        eprintln!("{text}");
    }
}
