-- Which pairs of products were compared, and histograms of dark rates: for the trend page.

CREATE TABLE pixel_comparisons (        -- a pair without changes has no row in pixel_changes
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    previous_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    n_compared INTEGER NOT NULL,        -- pixels with a rate in both; 0 where the products do not compare
    expected_false DOUBLE PRECISION NOT NULL, -- expected number of false changes
    PRIMARY KEY (product_id, previous_id)
);

CREATE TABLE rate_histograms (          -- pixels in bins of equal width in asinh((rate - centre) / scale)
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    centre DOUBLE PRECISION NOT NULL,   -- median rate, electron/s; without a DARK CURRENT of the product rates are
                                        -- counted from the median of their amplifier
    scale DOUBLE PRECISION NOT NULL,    -- robust standard deviation, electron/s
    low DOUBLE PRECISION NOT NULL,      -- ends of the bins
    high DOUBLE PRECISION NOT NULL,
    counts TEXT NOT NULL,               -- separated by spaces
    PRIMARY KEY (product_id)
);
