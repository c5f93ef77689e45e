"""The paper's forests away from the paper: other protocols, pooled features, reliability."""
