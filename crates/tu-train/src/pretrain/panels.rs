//! Grey pictures side by side, each with a title, as one PNG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::training::glyphs;

/// Pixels between pictures and around them.
const GAP: usize = 8;
/// Pixels above a picture for its title.
const TITLE: usize = 16;
/// Least width of a picture; smaller ones are drawn with larger pixels.
const LEAST_WIDTH: usize = 128;

/// A grey picture.
pub(super) struct Panel {
    /// Capital letters.
    pub(super) title: &'static str,
    /// Rows of grey values; what lies outside `[0, 1]` is clipped.
    pub(super) values: Vec<f32>,
    /// Length of a row.
    pub(super) width: usize,
}

/// Draws panels in a row.
///
/// # Errors
/// The file cannot be written; the message says which.
pub(super) fn draw_panels(panels: &[Panel], picture: &Path) -> Result<(), String> {
    draw(panels, picture).map_err(|e| format!("{}: {e}", picture.display()))
}

fn draw(panels: &[Panel], picture: &Path) -> Result<(), Box<dyn Error>> {
    let width = panels.iter().map(|p| p.width).max().unwrap_or(1).max(1);
    let height = panels.iter().map(|p| p.values.len() / p.width.max(1)).max().unwrap_or(1);
    let scale = LEAST_WIDTH.div_ceil(width);
    let size = (GAP + panels.len() * (width * scale + GAP), TITLE + height * scale + 2 * GAP);
    let root =
        BitMapBackend::new(picture, (u32::try_from(size.0)?, u32::try_from(size.1)?)).into_drawing_area();
    root.fill(&WHITE)?;
    for (i, panel) in panels.iter().enumerate() {
        let left = GAP + i * (width * scale + GAP);
        glyphs::write(&root, panel.title, (left as i32, GAP as i32 / 2))?;
        for (row, values) in panel.values.chunks_exact(panel.width).enumerate() {
            for (column, value) in values.iter().enumerate() {
                let grey = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
                for pixel in 0..scale * scale {
                    let x = left + column * scale + pixel % scale;
                    let y = TITLE + GAP + row * scale + pixel / scale;
                    root.draw_pixel((x as i32, y as i32), &RGBColor(grey, grey, grey))?;
                }
            }
        }
    }
    root.present()?;
    Ok(())
}
