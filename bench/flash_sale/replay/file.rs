//! Reads the file, as it is or gzipped.

use super::trade::{Row, Trade};
use doorbuster_bench::error::BenchError;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The columns, in the order of [`Row`]'s fields.
const COLUMNS: [&str; 6] = ["InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID", "Country"];

/// The trade in the first `limit` rows of `path`.
pub(crate) fn read(path: &Path, limit: Option<u64>) -> Result<Trade, BenchError> {
    let file = File::open(path).map_err(|source| BenchError::io(format!("open {}", path.display()), source))?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    if zipped { parse(flate2::read::MultiGzDecoder::new(BufReader::new(file)), limit) } else { parse(file, limit) }
}

fn parse(text: impl Read, limit: Option<u64>) -> Result<Trade, BenchError> {
    let wrong = |error: csv::Error| BenchError::Input(format!("not the Online Retail file: {error}"));
    let mut reader = csv::ReaderBuilder::new().from_reader(BufReader::with_capacity(1 << 16, text));
    let headers = reader.byte_headers().map_err(wrong)?.clone();
    let place = |name: &str| {
        let found = headers.iter().position(|header| header == name.as_bytes());
        found.ok_or_else(|| BenchError::Input(format!("not the Online Retail file: there is no column {name}")))
    };
    let mut places = [0; 6];
    for (slot, name) in places.iter_mut().zip(COLUMNS) {
        *slot = place(name)?;
    }
    let mut trade = Trade::default();
    let mut record = csv::ByteRecord::new();
    while limit.is_none_or(|limit| trade.rows < limit) && reader.read_byte_record(&mut record).map_err(wrong)? {
        // Only descriptions, which are not read, hold anything but UTF-8 in some copies of the file.
        let fields =
            places.map(|place| record.get(place).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or(""));
        let [invoice, code, quantity, price, customer, country] = fields;
        trade.take(Row { invoice, code, quantity, price, customer, country });
    }
    Ok(trade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_quotes_are_understood() {
        let text = "Country,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n\
                    EIRE,1,A,\"x, \"\"y\"\"\",2,d,1.5,7.0\nEIRE,C2,A,,-1,d,1.5,7.0\nEIRE,3,A,,1,d,0,7.0\n";
        let trade = parse(text.as_bytes(), None).unwrap();
        assert_eq!((trade.rows, trade.sale_rows, trade.cancellation_rows), (3, 1, 1));
        assert_eq!(trade.skus[0].id, "A-150");
        assert_eq!(parse(text.as_bytes(), Some(1)).unwrap().rows, 1);
    }

    #[test]
    fn another_file_is_refused_with_what_it_lacks() {
        let error = parse(&b"a,b\n1,2\n"[..], None).unwrap_err();
        assert!(error.to_string().contains("InvoiceNo"), "{error}");
    }
}
