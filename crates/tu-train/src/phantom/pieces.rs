//! Every label one connected piece: a neurite that leaves the volume and comes back is two pieces to anyone who sees
//! the volume alone. Crumbs, which a warped border leaves behind, go to the neighbour they touch first.

/// Renumbers labels to 1.. by 6-connected piece, in raster order of their first voxel.
pub(super) fn separate(labels: &mut [u32], shape_zyx: [usize; 3]) {
    const CRUMB_VOXELS: u32 = 27;
    let strides = [shape_zyx[1] * shape_zyx[2], shape_zyx[2], 1];
    let mut parent: Vec<u32> = (0..labels.len() as u32).collect();
    let has_before = |i: usize, axis: usize| !(i / strides[axis]).is_multiple_of(shape_zyx[axis]);
    for i in 0..labels.len() {
        for axis in 0..3 {
            if has_before(i, axis) && labels[i] == labels[i - strides[axis]] {
                unite(&mut parent, i as u32, (i - strides[axis]) as u32);
            }
        }
    }
    let mut size = vec![0u32; labels.len()];
    for i in 0..labels.len() {
        let root = find(&mut parent, i as u32);
        size[root as usize] += 1;
    }
    for i in 0..labels.len() {
        for (axis, stride) in strides.into_iter().enumerate() {
            if !has_before(i, axis) {
                continue;
            }
            let (a, b) = (find(&mut parent, i as u32), find(&mut parent, (i - stride) as u32));
            if a != b && size[a as usize].min(size[b as usize]) < CRUMB_VOXELS {
                unite(&mut parent, a, b);
                let total = size[a as usize] + size[b as usize];
                size[a.min(b) as usize] = total;
            }
        }
    }
    let mut next = 0;
    let mut numbers = vec![0u32; labels.len()];
    for (i, label) in labels.iter_mut().enumerate() {
        let root = find(&mut parent, i as u32) as usize;
        if numbers[root] == 0 {
            next += 1;
            numbers[root] = next;
        }
        *label = numbers[root];
    }
}

fn find(parent: &mut [u32], mut i: u32) -> u32 {
    while parent[i as usize] != i {
        parent[i as usize] = parent[parent[i as usize] as usize];
        i = parent[i as usize];
    }
    i
}

/// The smaller index becomes the root.
fn unite(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}
