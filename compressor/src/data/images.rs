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
use crate::numbers::Shape;

/// Largest width and height of an image file, before any resizing.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Largest image file: an uncompressed 8192 × 8192 colour image has 192 MiB.
const MAX_IMAGE_BYTES: u64 = 256 << 20;

/// The training and, where named, the test folder.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    let Some(folder) = config.inputs.as_deref() else {
        return Err(DataError::MissingKey { kind: config.kind, key: "inputs" });
    };
    let mut format = Format { size: config.resize, color: config.color, resize: config.resize };
    let unlabelled = config.fit.is_some();
    let train = read(folder, &mut format, unlabelled)?;
    let test = match config.test_inputs.as_deref() {
        Some(folder) => Some(read(folder, &mut format, unlabelled)?),
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

/// Reads all images, folders and files in the order of their names; `unlabelled` ones may lie in the
/// folder itself.
fn read(folder: &Path, format: &mut Format, unlabelled: bool) -> Result<Part, DataError> {
    let mut bytes = Vec::new();
    let mut take = |path: &Path| {
        let image = decode(path, &files::read(path, MAX_IMAGE_BYTES)?)?;
        bytes.extend(format.pixels(path, image)?);
        if bytes.len() as u64 > MAX_DATA_BYTES {
            let (what, found) = ("bytes of pixels", bytes.len() as u64);
            let (path, limit) = (folder.to_owned(), MAX_DATA_BYTES);
            return Err(DataError::TooMany { path, what, found, limit });
        }
        Ok(())
    };
    let folders = list(folder, |path| path.is_dir())?;
    let labels = if folders.is_empty() && unlabelled {
        let images = list(folder, is_image)?;
        if images.is_empty() {
            return Err(DataError::NoClassFolders { path: folder.to_owned() });
        }
        images.iter().try_for_each(|path| take(path))?;
        RawLabels::None
    } else {
        RawLabels::Names(classes(folder, folders, &mut take)?)
    };
    let [height, width] = format.size.unwrap_or_default();
    let channels = format.color.unwrap_or(Color::Gray).channels();
    let shape = Shape::Image { height, width, channels };
    Ok(Part { shape, inputs: Values::Bytes(bytes), labels })
}

/// Has the images of each class's folder taken; the class of each image.
fn classes(
    folder: &Path,
    folders: Vec<PathBuf>,
    take: &mut dyn FnMut(&Path) -> Result<(), DataError>,
) -> Result<Vec<String>, DataError> {
    if folders.is_empty() {
        return Err(DataError::NoClassFolders { path: folder.to_owned() });
    }
    let mut labels = Vec::new();
    for class in folders {
        // Two names that aren't Unicode would look alike, and become one class.
        let Some(name) = class.file_name().and_then(OsStr::to_str).map(str::to_owned) else {
            return Err(DataError::FolderName { path: class });
        };
        let images = list(&class, is_image)?;
        if images.is_empty() {
            return Err(DataError::NoImages { path: class });
        }
        for path in images {
            take(&path)?;
            labels.push(name.clone());
        }
    }
    Ok(labels)
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

/// Whether a file is an image by its name.
pub(crate) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Decodes a PNG or JPEG; what it is, its bytes say. Larger sides than [`MAX_SIDE`] and decoders
/// that want more than twice `MAX_IMAGE_BYTES` are refused.
///
/// # Errors
/// [`DataError::Image`].
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
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
        // Gray files are gray already, whatever their depth.
        Color::Gray if !image.color().has_color() => image.to_luma8().into_raw(),
        Color::Gray => image.to_rgb8().pixels().map(|pixel| gray(pixel.0)).collect(),
        Color::Rgb => image.to_rgb8().into_raw(),
    }
}

/// The gray of a colour by Rec. 601, to the bit as Pillow's `convert("L")` has it; OpenCV and
/// TensorFlow weigh colours alike. Models are trained on what these give.
pub(super) fn gray([red, green, blue]: [u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    // The weights are 0.299, 0.587 and 0.114 in 65,536ths, and sum to 1.
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
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

    #[test]
    fn gray_is_as_in_pillow() {
        // What Image.convert("L") gives.
        let table = [
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([255, 255, 255], 255),
            ([0, 0, 0], 0),
            ([255, 255, 0], 226),
            ([0, 255, 255], 179),
            ([255, 0, 255], 105),
            ([128, 128, 128], 128),
        ];
        for (color, expected) in table {
            assert_eq!(gray(color), expected, "{color:?}");
        }
        let image = decode(Path::new("a"), &png(1, 2, [0, 255, 0])).unwrap();
        assert_eq!(to_bytes(&image, [1, 2], Color::Gray), [150, 150]);
    }

    #[cfg(unix)]
    #[test]
    fn folders_whose_names_are_no_text_are_not_merged() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"caf\xe9"[..], b"caf\xe8"] {
            let class = folder.path().join(OsStr::from_bytes(name));
            fs::create_dir(&class).unwrap();
            fs::write(class.join("1.png"), png(2, 2, [1, 2, 3])).unwrap();
        }
        let error = load(&config(folder.path())).unwrap_err();
        assert!(matches!(error, DataError::FolderName { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_among_images_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let class = folder.path().join("a");
        fs::create_dir(&class).unwrap();
        let pipe = class.join("1.png");
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let error = load(&config(folder.path())).unwrap_err();
        assert!(matches!(error, DataError::File(FileError::NoFile { .. })), "{error}");
    }

    #[test]
    fn images_without_classes_are_for_models_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.png"), png(2, 3, [1, 2, 3])).unwrap();
        assert!(matches!(load(&config(folder.path())), Err(DataError::NoClassFolders { .. })));
        let fit = crate::data::ModelFit { dims: vec![2, 3, 3], outputs: Some(4) };
        let config = DataConfig { fit: Some(fit), ..config(folder.path()) };
        let (dataset, labels) = crate::data::read_for(&config).unwrap();
        assert_eq!((dataset.len(), labels), (1, RawLabels::None));
    }
}
