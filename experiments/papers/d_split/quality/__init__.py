"""Split deconvolution against the definition: error and SSIM."""
