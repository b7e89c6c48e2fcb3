//! The moments of AdamW for many parameters, by their official names.
//!
//! Parameters that got their first gradient in the same step lie side by side on a page, so that a step changes all of them at
//! once. Which page a name is on is nobody's business: states are saved and loaded by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use tu_kernels::adamw::{AdamwStep, Moments, Parameter, adamw};

use super::TrainError;

/// Most elements of a page that holds more than one parameter: 64 MiB in f32, what any device binds as one buffer.
const PAGE: usize = 1 << 24;

/// A trained parameter in a step.
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) value: Tensor<1>,
    pub(super) gradient: Tensor<1>,
    /// ηλ.
    pub(super) decay: f64,
}

/// Moments of some parameters.
struct Page {
    /// Names with their elements, ascending.
    places: Vec<(String, Range<usize>)>,
    moments: Moments,
}

/// The moments of all parameters that have had a gradient.
#[derive(Default)]
pub(super) struct MomentPages(Vec<Page>);

/// Elements of parameters side by side.
fn side_by_side(parameters: &[(String, usize)]) -> (Vec<(String, Range<usize>)>, usize) {
    let mut end = 0;
    let places = parameters.iter().map(|(name, size)| {
        let place = end..end + size;
        end = place.end;
        (name.clone(), place)
    });
    let places = places.collect();
    (places, end)
}

/// Parameters by pages.
fn pages(parameters: Vec<(String, usize)>) -> Vec<Vec<(String, usize)>> {
    let mut pages: Vec<Vec<(String, usize)>> = Vec::new();
    let mut room = 0;
    for (name, size) in parameters {
        match pages.last_mut() {
            Some(page) if size <= room => page.push((name, size)),
            _ => {
                pages.push(vec![(name, size)]);
                room = PAGE;
            }
        }
        room = room.saturating_sub(size);
    }
    pages
}

impl MomentPages {
    /// Names, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.0.iter().flat_map(|page| page.places.iter().map(|(name, _)| name.as_str())).collect();
        names.sort_unstable();
        names
    }

    /// One step of the parameters: their new values in their order. Those without moments get zeros first.
    pub(super) fn step(&mut self, trained: Vec<Trained>, step: &AdamwStep) -> Vec<Tensor<1>> {
        self.open_pages(&trained);
        let places: HashMap<String, usize> =
            trained.iter().enumerate().map(|(i, parameter)| (parameter.name.clone(), i)).collect();
        let mut found: Vec<Option<Tensor<1>>> = trained.iter().map(|_| None).collect();
        let mut trained: Vec<Option<Trained>> = trained.into_iter().map(Some).collect();
        for page in std::mem::take(&mut self.0) {
            let mut indices = Vec::with_capacity(page.places.len());
            let mut parameters = Vec::with_capacity(page.places.len());
            for (name, place) in &page.places {
                let Some(&index) = places.get(name) else { continue };
                let Some(Trained { value, gradient, decay, .. }) = trained[index].take() else { continue };
                indices.push(index);
                parameters.push(Parameter { value, gradient, start: place.start, decay });
            }
            let (values, moments) = adamw(parameters, page.moments, step);
            for (index, value) in indices.into_iter().zip(values) {
                found[index] = Some(value);
            }
            self.0.push(Page { places: page.places, moments });
        }
        found.into_iter().flatten().collect()
    }

    /// Zeros for parameters that have no moments yet.
    fn open_pages(&mut self, trained: &[Trained]) {
        let known: HashSet<&str> =
            self.0.iter().flat_map(|page| page.places.iter().map(|(name, _)| name.as_str())).collect();
        let new = trained.iter().filter(|parameter| !known.contains(parameter.name.as_str()));
        let new: Vec<_> = new.map(|parameter| (parameter.name.clone(), parameter.value.dims()[0])).collect();
        let Some(first) = trained.first() else { return };
        let device = first.value.device();
        for page in pages(new) {
            let (places, size) = side_by_side(&page);
            let zeros = || Tensor::zeros([size], &device);
            self.0.push(Page { places, moments: Moments { first: zeros(), second: zeros() } });
        }
    }

    /// First and second moments of every name.
    pub(super) fn read(&self) -> Result<BTreeMap<String, [Vec<f32>; 2]>, TrainError> {
        let mut found = BTreeMap::new();
        for page in &self.0 {
            let Moments { first, second } = &page.moments;
            let (first, second) = (values(first)?, values(second)?);
            for (name, place) in &page.places {
                let moments = [&first, &second].map(|values| values[place.clone()].to_vec());
                found.insert(name.clone(), moments);
            }
        }
        Ok(found)
    }

    /// Moments that [`Self::read`] gave, on a device without autodiff.
    pub(super) fn load(mut moments: BTreeMap<String, [Vec<f32>; 2]>, device: &Device) -> Self {
        let sizes = moments.iter().map(|(name, [first, _])| (name.clone(), first.len())).collect();
        let load = |page: Vec<(String, usize)>| {
            let (places, size) = side_by_side(&page);
            let mut values = [Vec::with_capacity(size), Vec::with_capacity(size)];
            for (name, _) in &page {
                let own = moments.remove(name).unwrap_or_default();
                values.iter_mut().zip(own).for_each(|(values, own)| values.extend(own));
            }
            let [first, second] =
                values.map(|values| Tensor::from_data(TensorData::new(values, [size]), device));
            Page { places, moments: Moments { first, second } }
        };
        Self(pages(sizes).into_iter().map(load).collect())
    }
}

fn values(tensor: &Tensor<1>) -> Result<Vec<f32>, TrainError> {
    let failed = |e: String| TrainError::Device(format!("reading the optimiser's state ({e})"));
    let data = tensor.clone().try_into_data().map_err(|e| failed(format!("{e:?}")))?;
    data.try_into_vec().map_err(|e| failed(format!("{e:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_parameter_once_in_order_and_no_more_than_fits() {
        let sizes = [5, PAGE - 5, 1, 3 * PAGE, 2, 7, PAGE];
        let parameters: Vec<_> = sizes.iter().enumerate().map(|(i, n)| (i.to_string(), *n)).collect();
        let pages = pages(parameters.clone());
        assert_eq!(pages.concat(), parameters);
        let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1, 2, 1]);
    }
}
