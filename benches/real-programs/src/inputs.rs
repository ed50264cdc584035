//! What the programs work on, the same on every machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use bench_common::inputs::Writer;

use crate::folders::{Folders, up_to_date};

/// Writes a file.
type Make = fn(&mut dyn Write) -> io::Result<()>;

/// Makes the files, unless they are those that this version of the package makes.
///
/// # Errors
///
/// If they cannot be written.
pub(crate) fn make(folders: &Folders) -> Result<()> {
    // How they are made is what they are made of.
    let made_of = include_str!("inputs.rs");
    let files: [(&str, Make); 5] = [
        ("records.csv", records),
        ("orders.json", orders),
        ("events.json", events),
        ("page.html", page),
        ("style.scss", style),
    ];
    up_to_date(&folders.inputs, made_of, || {
        for (name, make) in files {
            let file = folders.inputs.join(name);
            make_file(&file, make).with_context(|| format!("cannot write {}", file.display()))?;
        }
        index(&folders.inputs).context("cannot write the table with an index")?;
        let forest = folders.inputs.join("forest");
        fs::create_dir(&forest)?;
        for number in 0..TREES {
            symlink("../../sources", forest.join(number.to_string()))?;
        }
        let picture = folders.inputs.join("picture.png");
        fs::write(&picture, self::picture(PICTURE_SIDE)?)
            .with_context(|| format!("cannot write {}", picture.display()))
    })
}

/// How often the tree of sources is in the forest, which consists of links to it.
const TREES: usize = 16;

fn make_file(file: &Path, make: Make) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    make(&mut out)?;
    out.flush()
}

/// A table of sales with seven columns.
fn records(out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new(1);
    let cities: Vec<String> = (0..2000).map(|_| writer.words(1)).collect();
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["number", "name", "city", "country", "amount", "date", "note"])?;
    for number in 0..200_000 {
        let (name, city) = (writer.words(2), writer.below(cities.len()));
        let amount = format!("{}.{:02}", writer.below(100_000), writer.below(100));
        let [year, month, day] = [writer.below(26), 1 + writer.below(12), 1 + writer.below(28)];
        table.write_record([
            &number.to_string(),
            &name,
            &cities[city],
            &cities[city % 60],
            &amount,
            &format!("20{year:02}-{month:02}-{day:02}"),
            // With a comma, hence in quotes.
            &format!("{}, {}", writer.words(2), writer.words(2)),
        ])?;
    }
    table.flush()
}

/// The same table, with the index that xsv looks for beside it and divides the work by.
fn index(inputs: &Path) -> Result<()> {
    let table = inputs.join("indexed.csv");
    fs::copy(inputs.join("records.csv"), &table)?;
    let mut index = BufWriter::new(File::create(inputs.join("indexed.csv.idx"))?);
    csv_index::RandomAccessSimple::create(&mut csv::Reader::from_path(&table)?, &mut index)?;
    Ok(index.flush()?)
}

/// The answer of a service that lists orders.
fn orders(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}", Writer::new(2).json(12_000))
}

/// Small events, one a line.
fn events(out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new(3);
    for number in 0..200_000 {
        let (user, action) = (writer.word(), writer.words(2));
        writeln!(
            out,
            "{{\"id\":{number},\"user\":\"{user}\",\"action\":\"{action}\",\"cost\":{},\"place\":[{},{}]}}",
            writer.below(1000),
            writer.below(90),
            writer.below(180)
        )?;
    }
    Ok(())
}

/// A page with a long table.
fn page(out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new(4);
    writeln!(out, "<!DOCTYPE html>\n<html><head><title>Orders</title></head><body><table id=\"orders\">")?;
    for number in 0..80_000 {
        let (class, name, link) = (writer.below(7), writer.words(3), writer.word());
        writeln!(
            out,
            "<tr class=\"row kind-{class}\" id=\"row-{number}\"><td>{number}</td><td><b>{name}</b></td>\
             <td><a href=\"/orders/{link}?page={number}&amp;kind={class}\">{}</a></td></tr>",
            writer.words(5)
        )?;
    }
    writeln!(out, "</table></body></html>")
}

/// A style sheet with variables, mixins, loops and nested rules.
fn style(out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new(5);
    writeln!(
        out,
        "@mixin box($width, $color) {{\n  width: $width * 1px;\n  border: 1px solid darken($color, 10%);\n  \
         &:hover {{ color: lighten($color, 20%); }}\n}}"
    )?;
    for number in 0..4000 {
        let (block, part) = (writer.word(), writer.word());
        writeln!(
            out,
            "$color-{number}: #{:06x};\n.{block}-{number} {{\n  @include box({}, $color-{number});\n  \
             .{part} {{\n    @for $i from 1 through 8 {{\n      &-#{{$i}} {{ @include box($i * {}, mix($color-{number}, #fff, \
             $i * 10%)); }}\n    }}\n  }}\n}}",
            writer.below(1 << 24),
            writer.below(1000),
            1 + writer.below(50)
        )?;
    }
    Ok(())
}

/// Pixels along a side of the picture.
const PICTURE_SIDE: u32 = 900;

/// A picture of overlapping discs over a gradient, as an unoptimised PNG.
fn picture(side: u32) -> Result<Vec<u8>> {
    let mut writer = Writer::new(6);
    let mut pixels = vec![0_u8; (side * side * 4) as usize];
    let (rows, side) = (pixels.chunks_exact_mut(side as usize * 4), side as usize);
    let discs: Vec<[usize; 6]> = (0..60)
        .map(|_| {
            let [x, y, radius] = [side, side, side / 8].map(|bound| writer.below(bound));
            let [red, green, blue] = [(); 3].map(|()| writer.below(256));
            [x, y, radius, red, green, blue]
        })
        .collect();
    for (y, row) in rows.enumerate() {
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let covers = |disc: &&[usize; 6]| {
                let [dx, dy] = [disc[0].abs_diff(x), disc[1].abs_diff(y)];
                dx * dx + dy * dy <= disc[2] * disc[2]
            };
            let color = match discs.iter().rev().find(covers) {
                Some(&[_, _, _, red, green, blue]) => [red, green, blue],
                None => [255 * x / side, 255 * y / side, 128 + writer.below(8)],
            };
            pixel.copy_from_slice(&[color[0] as u8, color[1] as u8, color[2] as u8, 255]);
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut encoder = encoder.write_header()?;
    encoder.write_image_data(&pixels)?;
    encoder.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_makes_the_same() {
        let made = |make: Make| {
            let mut bytes = Vec::new();
            make(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(made(style), made(style));
        let page = made(page);
        assert_eq!(page.matches("<tr").count(), page.matches("</tr>").count());
        assert_eq!(made(records).lines().count(), 200_001);
    }

    #[test]
    fn the_picture_is_a_png_of_its_size() {
        let file = picture(20).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (20, 20));
    }
}
