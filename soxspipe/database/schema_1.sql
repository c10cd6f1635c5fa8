-- The first version of the quality database: products, their QC values, and the view of other tools.

CREATE TABLE soxspipe_schema (
    version INTEGER NOT NULL            -- number of the last schema_<n>.sql that was run
);
INSERT INTO soxspipe_schema (version) VALUES (0);

CREATE TABLE products (                 -- one row for each product
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,                 -- absolute path when the product was added last
    file_name TEXT NOT NULL,            -- name of the file when it was written (PIPEFILE)
    datamd5 TEXT NOT NULL,              -- MD5 of all data of the product (DATAMD5)
    recipe TEXT NOT NULL,               -- soxs_mdark, soxs_mbias, ...
    category TEXT NOT NULL,             -- ESO PRO CATG
    instrument TEXT,                    -- INSTRUME
    arm TEXT NOT NULL,                  -- NIR, VIS, ...
    detector TEXT,                      -- identity of the detector (ESO DET CHIP ID)
    columns INTEGER NOT NULL,           -- size of the product
    lines INTEGER NOT NULL,
    exptime_s DOUBLE PRECISION,         -- exposure time of each raw frame
    dit_s DOUBLE PRECISION,             -- exposure that FLUX belongs to (one DIT)
    read_mode TEXT,                     -- read-out mode in the file name; NULL for a CCD
    binning TEXT,                       -- columns x rows, such as 1x1; NULL for an infrared detector
    frames INTEGER NOT NULL,                     -- number of frames combined
    date_obs TEXT NOT NULL,             -- start of the first frame, UTC
    mjd_obs DOUBLE PRECISION NOT NULL,
    reduction_date TEXT NOT NULL,       -- when the product was written, UTC
    version TEXT NOT NULL,              -- soxspipe/<version>
    verdict TEXT NOT NULL,              -- PASS, WARN or FAIL
    failed TEXT NOT NULL,               -- names of the values out of range, separated by ', '
    sof_name TEXT,                      -- set-of-files file; NULL where there was none
    temperature_k DOUBLE PRECISION,     -- mean temperature of the detector
    UNIQUE (datamd5, file_name)
);
CREATE INDEX products_by_date ON products (mjd_obs);
CREATE INDEX products_by_path ON products (path);

CREATE TABLE quality_values (           -- one row for each QC value of a product
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- place among the values of the product, from 1
    name TEXT NOT NULL,                 -- name behind ESO QC
    value DOUBLE PRECISION,             -- NULL where it was not measured; 1 and 0 for true and false
    unit TEXT NOT NULL,
    low DOUBLE PRECISION,               -- range that passes; NULL for an open end
    high DOUBLE PRECISION,
    passed BOOLEAN,                     -- NULL without a range or a value
    comment TEXT NOT NULL,
    PRIMARY KEY (product_id, position),
    UNIQUE (product_id, name)
);
CREATE INDEX quality_values_by_name ON quality_values (name);

CREATE VIEW quality_control AS          -- for tools that read the database of the SOXS pipeline
SELECT
    REPLACE(products.recipe, '_', '-') AS soxspipe_recipe,
    quality_values.name AS qc_name,
    quality_values.value AS qc_value,
    quality_values.unit AS qc_unit,
    quality_values.comment AS qc_comment,
    products.date_obs AS obs_date_utc,
    products.reduction_date AS reduction_date_utc,
    COALESCE(products.sof_name, REPLACE(products.file_name, '.fits', '.sof')) AS sof_name,
    '-1' AS qc_order,                   -- the value is of the whole frame, not of one order
    CASE WHEN quality_values.passed IS NOT NULL AND NOT quality_values.passed THEN 'fail' ELSE 'pass' END AS qc_flag,
    quality_values.low AS qc_value_min,
    quality_values.high AS qc_value_max
FROM quality_values JOIN products ON products.id = quality_values.product_id
WHERE quality_values.value IS NOT NULL;
