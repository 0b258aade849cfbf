//! Folders of PNG and JPEG files: one sub-folder per class, its name the class.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, Limits, imageops::FilterType};

use super::{
    Color, DataConfig, DataError, MAX_DATA_BYTES, MAX_EXAMPLE_VALUES, Part, RawLabels, Values,
};
use crate::files::{self, FileError};
use crate::network::Shape;

/// Largest width and height of an image file, before any resizing.
pub const MAX_SIDE: u32 = 8192;

/// Largest image file: an uncompressed 8192 × 8192 colour image has 192 MiB.
const MAX_IMAGE_BYTES: u64 = 256 << 20;

/// The training and, where named, the test folder.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    let Some(folder) = config.inputs.as_deref() else {
        return Err(DataError::MissingKey { kind: config.kind, key: "inputs" });
    };
    let mut format = Format { size: config.resize, color: config.color, resize: config.resize };
    let train = read(folder, &mut format)?;
    let test = match config.test_inputs.as_deref() {
        Some(folder) => Some(read(folder, &mut format)?),
        None => None,
    };
    Ok((train, test))
}

/// What all images have in common; the first one decides what the job leaves open.
struct Format {
    /// Height and width.
    size: Option<[usize; 2]>,
    color: Option<Color>,
    resize: Option<[usize; 2]>,
}

/// Reads all images, folders and files in the order of their names.
fn read(folder: &Path, format: &mut Format) -> Result<Part, DataError> {
    let folders = list(folder, |path| path.is_dir())?;
    if folders.is_empty() {
        return Err(DataError::NoClassFolders { path: folder.to_owned() });
    }
    let (mut bytes, mut labels) = (Vec::new(), Vec::new());
    for class in folders {
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let images = list(&class, is_image)?;
        if images.is_empty() {
            return Err(DataError::NoImages { path: class });
        }
        for path in images {
            let image = decode(&path, &files::read(&path, MAX_IMAGE_BYTES)?)?;
            bytes.extend(format.pixels(&path, image)?);
            labels.push(name.clone());
            if bytes.len() as u64 > MAX_DATA_BYTES {
                let (what, found) = ("bytes of pixels", bytes.len() as u64);
                let limit = MAX_DATA_BYTES;
                return Err(DataError::TooMany { path: folder.to_owned(), what, found, limit });
            }
        }
    }
    let [height, width] = format.size.unwrap_or_default();
    let channels = format.color.unwrap_or(Color::Gray).channels();
    let shape = Shape::Image { height, width, channels };
    Ok(Part { shape, inputs: Values::Bytes(bytes), labels: RawLabels::Names(labels) })
}

/// Entries that aren't hidden, sorted.
fn list(folder: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let fail = |source| FileError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default();
        if !name.as_encoded_bytes().starts_with(b".") && wanted(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Decodes a PNG or JPEG; what it is, its bytes say. Larger sides than [`MAX_SIDE`] and decoders
/// that want more than twice `MAX_IMAGE_BYTES` are refused.
///
/// # Errors
/// [`DataError::Image`].
pub fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let fail = |source: image::ImageError| DataError::Image { path: path.to_owned(), source };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| fail(error.into()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(2 * MAX_IMAGE_BYTES);
    reader.limits(limits);
    reader.decode().map_err(fail)
}

/// Scales to height × width (area-weighted where it shrinks), as height × width × channels.
pub(super) fn to_bytes(image: &DynamicImage, size: [usize; 2], color: Color) -> Vec<u8> {
    let side = |n: usize| u32::try_from(n).unwrap_or(MAX_SIDE).min(MAX_SIDE);
    let [height, width] = size.map(side);
    let scaled;
    let image = if (image.height(), image.width()) == (height, width) {
        image
    } else {
        scaled = image.resize_exact(width, height, FilterType::Triangle);
        &scaled
    };
    match color {
        Color::Gray => image.to_luma8().into_raw(),
        Color::Rgb => image.to_rgb8().into_raw(),
    }
}

impl Format {
    fn pixels(&mut self, path: &Path, image: DynamicImage) -> Result<Vec<u8>, DataError> {
        let found = [image.height() as usize, image.width() as usize];
        let expected = *self.size.get_or_insert(found);
        if self.resize.is_none() && found != expected {
            return Err(DataError::ImageSize { path: path.to_owned(), found, expected });
        }
        let natural = if image.color().has_color() { Color::Rgb } else { Color::Gray };
        let color = *self.color.get_or_insert(natural);
        let values = expected[0].saturating_mul(expected[1]).saturating_mul(color.channels());
        if values > MAX_EXAMPLE_VALUES {
            return Err(DataError::TooMany {
                path: path.to_owned(),
                what: "values of one image (set `data.resize`)",
                found: values as u64,
                limit: MAX_EXAMPLE_VALUES as u64,
            });
        }
        Ok(to_bytes(&image, expected, color))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{DataKind, load};
    use super::*;
    use image::{ImageFormat, Rgb, RgbImage};

    /// A PNG of one colour.
    pub(in crate::data) fn png(height: u32, width: u32, color: [u8; 3]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(width, height, Rgb(color));
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn config(path: &Path) -> DataConfig {
        let inputs = Some(path.to_owned());
        DataConfig { kind: DataKind::Images, inputs, ..DataConfig::default() }
    }

    #[test]
    fn classes_are_folders_and_sizes_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        assert!(matches!(load(&config), Err(DataError::NoClassFolders { .. })));
        for class in ["dog", "cat"] {
            fs::create_dir(folder.path().join(class)).unwrap();
        }
        fs::create_dir(folder.path().join(".hidden")).unwrap();
        assert!(matches!(load(&config), Err(DataError::NoImages { .. })));
        fs::write(folder.path().join("dog/1.PNG"), png(2, 3, [255, 0, 0])).unwrap();
        fs::write(folder.path().join("cat/1.png"), png(2, 3, [0, 0, 9])).unwrap();
        fs::write(folder.path().join("cat/notes.txt"), b"").unwrap();
        let dataset = load(&config).unwrap();
        assert_eq!(dataset.shape, Shape::Image { height: 2, width: 3, channels: 3 });
        assert_eq!(dataset.classes, ["cat", "dog"]);
        assert_eq!(dataset.labels, [0, 1]);
        assert_eq!(dataset.bytes(1).unwrap()[..4], [255, 0, 0, 255]);
        assert_eq!(dataset.bytes(2), None);
        fs::write(folder.path().join("dog/2.png"), png(4, 4, [1, 2, 3])).unwrap();
        assert!(matches!(
            load(&config),
            Err(DataError::ImageSize { found: [4, 4], expected: [2, 3], .. })
        ));
        config.resize = Some([5, 6]);
        config.color = Some(Color::Gray);
        let dataset = load(&config).unwrap();
        assert_eq!(dataset.shape, Shape::Image { height: 5, width: 6, channels: 1 });
        assert_eq!(dataset.len(), 3);
        config.resize = Some([2048, 2048]);
        assert!(matches!(load(&config), Err(DataError::TooMany { .. })));
        fs::write(folder.path().join("dog/3.jpg"), b"no image").unwrap();
        config.resize = Some([5, 6]);
        assert!(matches!(load(&config), Err(DataError::Image { .. })));
    }
}
