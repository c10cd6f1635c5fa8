-- Pixels that became bad or good between two products of one detector.

CREATE TABLE pixel_changes (
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    previous_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    x INTEGER NOT NULL,                 -- FITS pixel coordinates, from 1
    y INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('birth', 'death')),
    significance DOUBLE PRECISION NOT NULL, -- change over its error
    PRIMARY KEY (product_id, previous_id, x, y)
);
