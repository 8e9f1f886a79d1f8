from jaxgs.saliency.spectral import spectral_residual
