//! CIFAR-10's binary files from its images as JPEG or PNG: `train/CLASS/FILE` and `test/CLASS/FILE`.
//!
//! Which images are for training and which for testing, their folders say. The authors' order isn't
//! known any more: records go through the classes in turn, each class in the order of its files' names,
//! so that every batch has as many of each. A note beside the files says what they were made of; the
//! compressor takes it into every figure.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader, Limits};

use super::file;
use crate::error::XtaskError;

/// The classes in the order of their labels, which is the alphabet's.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// Height and width of an image.
const SIDE: u32 = 32;
/// Values of one of an image's colours.
const PLANE: usize = (SIDE * SIDE) as usize;
/// The largest file that an image of that size may have: the pixels take 3 KiB.
const MAX_IMAGE_BYTES: u64 = 64 << 10;

/// The note's file, beside the six others.
pub(super) const NOTE: &str = "NOTE.txt";

/// How many images each class has.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) train: usize,
    pub(super) test: usize,
}

impl Counts {
    /// Those of the whole set.
    pub(super) const ALL: Self = Self { train: 5_000, test: 1_000 };
}

/// Whether a folder holds the images' folders.
pub(super) fn is_in(folder: &Path) -> bool {
    ["train", "test"].iter().all(|part| folder.join(part).join(CLASSES[0]).is_dir())
}

/// Writes the six files and the note into `to`; `origin` is what the images came in.
///
/// # Errors
/// Names the image that is no JPEG or PNG of 32 × 32, or the folder that hasn't the images it should.
pub(super) fn convert(
    from: &Path,
    to: &Path,
    origin: &Path,
    counts: Counts,
) -> Result<(), XtaskError> {
    let mut seen = Formats::default();
    let train = records(&from.join("train"), counts.train, &mut seen)?;
    let batch = train.len().div_ceil(5).max(1);
    for (index, records) in train.chunks(batch).enumerate() {
        write(&to.join(format!("data_batch_{}.bin", index + 1)), &records.concat())?;
    }
    let test = records(&from.join("test"), counts.test, &mut seen)?;
    write(&to.join("test_batch.bin"), &test.concat())?;
    write(&to.join(NOTE), seen.note(origin).as_bytes())
}

/// The formats that the images had.
#[derive(Default)]
struct Formats {
    jpeg: bool,
}

impl Formats {
    /// What rows of results say in a few words, and below it what that means.
    fn note(&self, origin: &Path) -> String {
        let name = origin.file_name().unwrap_or_default().to_string_lossy();
        let (label, meaning) = match self.jpeg {
            true => (
                "from JPEG files",
                "JPEG has changed the authors' pixels, so that errors are not comparable with published \
                 ones; the order of the examples isn't the authors' either.",
            ),
            false => ("from PNG files", "The order of the examples isn't the authors'."),
        };
        format!("{label}\n{meaning} Made by `cargo xtask data cifar-10 --from {name}`.\n")
    }
}

/// The records of one part, through the classes in turn.
fn records(part: &Path, each: usize, seen: &mut Formats) -> Result<Vec<Vec<u8>>, XtaskError> {
    let mut classes = Vec::with_capacity(CLASSES.len());
    for class in CLASSES {
        let folder = part.join(class);
        let images = images(&folder)?;
        if images.len() != each {
            let problem = format!("holds {} images, and CIFAR-10 has {each} there", images.len());
            return Err(XtaskError::Images { path: folder, problem });
        }
        classes.push(images);
    }
    let mut records = Vec::with_capacity(each * CLASSES.len());
    for index in 0..each {
        for (label, images) in (0u8..).zip(&classes) {
            let Some(path) = images.get(index) else { continue };
            records.push(record(path, label, seen)?);
        }
    }
    Ok(records)
}

/// The images of a folder, in the order of their names.
fn images(folder: &Path) -> Result<Vec<PathBuf>, XtaskError> {
    let entries = fs::read_dir(folder).map_err(file("read", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(file("read", folder))?.path();
        let is_image = |ending: &str| ["jpg", "jpeg", "png"].contains(&ending);
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if is_image(&ending) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A label, and the image's red, green and blue values.
fn record(path: &Path, label: u8, seen: &mut Formats) -> Result<Vec<u8>, XtaskError> {
    let wrong = |problem: String| XtaskError::Images { path: path.to_owned(), problem };
    let length = fs::metadata(path).map_err(file("read", path))?.len();
    if length > MAX_IMAGE_BYTES {
        return Err(wrong(format!("has {length} bytes, too many for an image of {SIDE} × {SIDE}")));
    }
    let bytes = fs::read(path).map_err(file("read", path))?;
    let unreadable = |error: image::ImageError| wrong(format!("is no image: {error}"));
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| unreadable(error.into()))?;
    seen.jpeg |= reader.format() == Some(ImageFormat::Jpeg);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE), Some(SIDE));
    reader.limits(limits);
    let image = reader.decode().map_err(unreadable)?;
    if (image.width(), image.height()) != (SIDE, SIDE) {
        return Err(wrong(format!(
            "is {} × {}, and CIFAR-10's images are {SIDE} × {SIDE}",
            image.height(),
            image.width()
        )));
    }
    let image = image.to_rgb8();
    let mut record = Vec::with_capacity(1 + 3 * PLANE);
    record.push(label);
    for color in 0..3 {
        record.extend(image.pixels().map(|pixel| pixel.0[color]));
    }
    Ok(record)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), XtaskError> {
    fs::write(path, bytes).map_err(file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// A folder of so many images of each class: the first has its label in red, and all have their
    /// index in blue, and the part in green.
    fn scene(counts: Counts, format: ImageFormat) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (part, (name, each)) in
            [("train", counts.train), ("test", counts.test)].iter().enumerate()
        {
            for (label, class) in CLASSES.iter().enumerate() {
                let path = folder.path().join(name).join(class);
                fs::create_dir_all(&path).unwrap();
                for index in 0..*each {
                    let color = [label, 128 * part, index].map(|value| value as u8);
                    let image = RgbImage::from_pixel(SIDE, SIDE, Rgb(color));
                    let ending = format.extensions_str()[0];
                    image
                        .save_with_format(path.join(format!("{index:04}.{ending}")), format)
                        .unwrap();
                }
            }
        }
        folder
    }

    const FEW: Counts = Counts { train: 2, test: 1 };

    #[test]
    fn classes_take_turns_and_folders_say_which_part() {
        let (from, to) = (scene(FEW, ImageFormat::Png), tempfile::tempdir().unwrap());
        assert!(is_in(from.path()) && !is_in(to.path()));
        convert(from.path(), to.path(), Path::new("a/images.tar"), FEW).unwrap();
        let read = |name: &str| fs::read(to.path().join(name)).unwrap();
        let size = 1 + 3 * PLANE;
        for batch in 1..=5 {
            assert_eq!(read(&format!("data_batch_{batch}.bin")).len(), 4 * size);
        }
        // The thirteenth image is the second of the third class.
        let third = read("data_batch_4.bin");
        let record = &third[..size];
        assert_eq!((record[0], record[1], record[1 + PLANE], record[1 + 2 * PLANE]), (2, 2, 0, 1));
        let test = read("test_batch.bin");
        assert_eq!((test.len(), test[9 * size], test[9 * size + 1 + PLANE]), (10 * size, 9, 128));
        let note = fs::read_to_string(to.path().join(NOTE)).unwrap();
        assert!(
            note.starts_with("from PNG files\n") && note.contains("--from images.tar"),
            "{note}"
        );
    }

    #[test]
    fn what_jpeg_has_changed_is_noted() {
        let (from, to) = (scene(FEW, ImageFormat::Jpeg), tempfile::tempdir().unwrap());
        convert(from.path(), to.path(), Path::new("images"), FEW).unwrap();
        let note = fs::read_to_string(to.path().join(NOTE)).unwrap();
        assert!(note.starts_with("from JPEG files\n"), "{note}");
    }

    #[test]
    fn wrong_images_are_named() {
        let (from, to) = (scene(FEW, ImageFormat::Png), tempfile::tempdir().unwrap());
        let fails = |counts| {
            convert(from.path(), to.path(), Path::new("x"), counts).unwrap_err().to_string()
        };
        let text = fails(Counts::ALL);
        assert!(text.contains("airplane") && text.contains("holds 2 images"), "{text}");
        let image = from.path().join("train/cat/0001.png");
        let other = RgbImage::new(SIDE, SIDE - 1);
        other.save(&image).unwrap();
        assert!(fails(FEW).contains("is 31 × 32"), "{}", fails(FEW));
        RgbImage::new(SIDE + 1, SIDE).save(&image).unwrap();
        assert!(fails(FEW).contains("0001.png: is no image"), "{}", fails(FEW));
        fs::write(&image, vec![0; 1 + MAX_IMAGE_BYTES as usize]).unwrap();
        assert!(fails(FEW).contains("too many"), "{}", fails(FEW));
        fs::write(&image, b"no image").unwrap();
        assert!(fails(FEW).contains("0001.png: is no image"), "{}", fails(FEW));
    }
}
