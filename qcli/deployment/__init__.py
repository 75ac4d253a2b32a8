"""From a trained network to integers: lowering, exact execution, proof."""
