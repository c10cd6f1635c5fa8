"""A recipe that counts what earlier ones of its process left."""

import gc

from soxspipe.recipes import soxs_mdark


class CountingRecipe(soxs_mdark):
    def produce_product(self):
        left = sum(type(one).__name__ in ("RecipeProduct", "ProductFile") for one in gc.get_objects())
        product = super().produce_product()
        product.path.with_name(f"left before {product.path.stem}").write_text(str(left))
        return product
