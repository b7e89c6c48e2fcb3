//! Every operation of the network at its own sizes.

use std::time::Instant;

use burn::tensor::{FloatDType, read_sync};
use tu_kernels::selfcheck::{Check, Passes, SelfCheckError, Verdict};
use tu_model::Precision;

use super::plan::Plan;
use super::quiet::quietly;
use super::row::{Row, Stage};

/// Volumes pass in the plan's precision, tokens in f32. Networks in f16 are not trained.
pub(super) fn check(plan: &Plan, add: &mut impl FnMut(Row)) {
    check_all(plan, plan.sizes().checks(), add);
}

fn check_all(plan: &Plan, checks: Vec<Check>, add: &mut impl FnMut(Row)) {
    let passes = if plan.trains() { Passes::ValuesAndGradients } else { Passes::Values };
    for check in checks {
        let half = check.runs_in_half_types();
        let (dtype, precision) =
            if half { (plan.precision.dtype(), plan.precision) } else { (FloatDType::F32, Precision::F32) };
        let shape = format!("{}, {precision}", check.shape());
        let name = check.kernel().to_string();
        add(match verdict(plan, &check, dtype, passes) {
            Ok((verdict, milliseconds)) => row(&verdict, shape, milliseconds),
            Err(cause) => Row::failed(Stage::Kernel, name, shape, cause),
        });
    }
}

/// What a check found, and milliseconds on the device.
fn verdict(plan: &Plan, check: &Check, dtype: FloatDType, passes: Passes) -> Result<(Verdict, f64), String> {
    let drawn = check.draw(dtype);
    let began = Instant::now();
    let found = quietly(|| read_sync(check.run(&drawn, &plan.device, passes)))?.map_err(cause)?;
    let milliseconds = 1e3 * began.elapsed().as_secs_f64();
    let expected = quietly(|| read_sync(check.expected(&drawn, &plan.device, passes)))?.map_err(cause)?;
    Ok((check.compare(&drawn, &plan.device, &found, &expected), milliseconds))
}

fn cause(error: SelfCheckError) -> String {
    match error {
        SelfCheckError::Unreadable { cause, .. } => cause,
        wrong @ SelfCheckError::Wrong(_) => wrong.to_string(),
    }
}

fn row(verdict: &Verdict, shape: String, milliseconds: f64) -> Row {
    let (result, error, limit) = verdict
        .worst()
        .map_or((String::new(), f64::NAN, 0.0), |worst| (worst.result.clone(), worst.error, worst.limit));
    let row = Row::new(Stage::Kernel, verdict.kernel.to_string(), shape, (error, limit), milliseconds);
    Row { result, agrees: verdict.agrees(), ..row }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use tu_kernels::selfcheck::short_checks;
    use tu_model::{EmMambaConfig, Preset};

    use super::*;

    #[test]
    fn a_kernel_that_is_wrong_or_panics_is_named_and_the_others_go_on() {
        let config = EmMambaConfig::preset(Preset::Tiny);
        let plan = Plan::of_architecture(&Device::flex(), Precision::F32, config, [2, 16, 16]).unwrap();
        let mut checks = short_checks();
        let count = checks.len();
        let right = short_checks().swap_remove(0);
        let first = checks.remove(0);
        checks.insert(0, first.with_operation(Box::new(move |x| right.apply(x) * 1.001)));
        let panicking = checks.remove(1);
        checks.insert(1, panicking.with_operation(Box::new(|_| panic!("the driver says no"))));
        let mut rows = Vec::new();
        check_all(&plan, checks, &mut |row| rows.push(row));
        assert_eq!(rows.len(), count);
        let wrong: Vec<String> = rows.iter().filter(|row| !row.agrees).map(ToString::to_string).collect();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong.iter().any(|text| text.contains("is allowed")), "{wrong:?}");
        assert!(wrong.iter().any(|text| text.contains("the driver says no")), "{wrong:?}");
    }
}
