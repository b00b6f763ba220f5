"""Building blocks of generated images: random fields, optics and the camera."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Float = NDArray[np.floating[Any]]
Truth = NDArray[np.int32]
Choice = tuple[float, float] | Callable[[np.random.Generator, Sequence[int]], Any]


def drawn(**choices: Choice) -> Callable[..., Any]:
    """Draw the options of a generator that are not given.

    The generator takes the shape (along T, Z, Y, X, as far as it has them), a random number
    generator, and options by name; it returns an image, its int32 labels, and perhaps a lineage.

    Parameters
    ----------
    **choices : (float, float) or callable
        For each option the range that it is drawn from, or a function of the random number
        generator and the shape. They are drawn in this order.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def generator(shape: Sequence[int], rng: np.random.Generator, **options: Any) -> Any:
            for name, choice in choices.items():
                if options.get(name) is None:
                    options[name] = (
                        float(rng.uniform(*choice))
                        if isinstance(choice, tuple)
                        else choice(rng, shape)
                    )
            return function(shape, rng, **options)

        return generator

    return decorate


def pixels(window: Sequence[slice]) -> tuple[Float, Float]:
    """Row and column of every pixel of a window, to be broadcast."""
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) for part in window)
    return rows[:, None], columns[None]


def fractal(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    scale: float = 32.0,
    slope: float = 1.5,
    spacing: Sequence[float] | None = None,
) -> Float:
    """Random field with structure at all sizes up to `scale`.

    Parameters
    ----------
    shape : sequence of int
        Shape of the field, any number of dimensions.
    rng : numpy.random.Generator
        Source of randomness.
    scale : float
        Largest structure, in pixels.
    slope : float
        Decrease of amplitude with size: 0 is white noise, 1 is cloudy, 2 is smooth.
    spacing : sequence of float, optional
        Relative size of a pixel along each dimension.

    Returns
    -------
    float32 array
        Mean 0, standard deviation 1. The field wraps around at its edges.
    """
    spacing = spacing or [1.0] * len(shape)
    noise = rng.standard_normal(shape, dtype=np.float32)
    spectrum = fft.rfftn(noise)
    square = np.float32(scale) ** -2
    for axis, (length, step) in enumerate(zip(shape, spacing, strict=True)):
        last = axis == len(shape) - 1
        frequency = (fft.rfftfreq if last else fft.fftfreq)(length, step).astype(np.float32)
        extent = [1] * len(shape)
        extent[axis] = -1
        square = square + frequency.reshape(extent) ** 2
    spectrum *= square ** np.float32(-slope / 2 * len(shape) / 2)
    spectrum.flat[0] = 0
    field: Float = fft.irfftn(spectrum, s=tuple(shape)).astype(np.float32)
    field /= max(float(field.std()), 1e-12)
    return field


def blur(image: Float, sigma: float | Sequence[float]) -> Float:
    """Gaussian blur with border pixels repeated outward."""
    blurred: Float = ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
    return blurred


def illumination(shape: Sequence[int], rng: np.random.Generator, strength: float) -> Float:
    """Uneven light over the field: a tilted, off-centre bowl with mean about 1."""
    rows = np.linspace(-1, 1, shape[-2], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[-1], dtype=np.float32)[None, :]
    row, column = rng.uniform(-0.5, 0.5, 2)
    tilt_row, tilt_column = rng.uniform(-0.5, 0.5, 2)
    bowl = -((rows - row) ** 2) - (columns - column) ** 2 + tilt_row * rows + tilt_column * columns
    bowl -= bowl.mean()
    light: Float = (1 + strength * bowl / 2).astype(np.float32)
    return light


def photons(signal: Float, rng: np.random.Generator, *, full: float, read: float = 2.0) -> Float:
    """Light as recorded by a camera, with photon (Poisson) noise and read noise.

    Parameters
    ----------
    signal : float array
        Light in relative units; 1 gives `full` photons.
    rng : numpy.random.Generator
        Source of randomness.
    full, read : float
        Photons at signal 1; standard deviation of the read noise in photons.

    Returns
    -------
    float32 array
        The noisy signal, in the same units.
    """
    expected = np.clip(signal, 0, None) * np.float32(full)
    # Above some tens of photons, a normal distribution looks the same and is several times faster.
    spread = np.sqrt(expected + np.float32(read**2))
    noisy: Float = expected + spread * rng.standard_normal(signal.shape, dtype=np.float32)
    few = expected < 20
    if few.any():
        dim = rng.poisson(expected[few]) + read * rng.standard_normal(int(few.sum()))
        noisy[few] = dim
    noisy /= np.float32(full)
    return noisy


def to_uint8(signal: Float) -> NDArray[np.uint8]:
    """Convert 0..1 to uint8 0..255, clipped."""
    counts: NDArray[np.uint8] = (np.clip(signal, 0, 1) * 255 + 0.5).astype(np.uint8)
    return counts


def to_uint16(signal: Float, *, offset: float = 100, full: float = 4000) -> NDArray[np.uint16]:
    """Convert 0..1 to 12-bit camera counts with an offset."""
    counts: NDArray[np.uint16] = (np.clip(signal * full + offset, 0, 4095) + 0.5).astype(np.uint16)
    return counts


def phase_contrast(phase: Float, *, ring: float, halo: float) -> Float:
    """Zernike phase contrast of a phase object.

    Parameters
    ----------
    phase : float array (rows, columns)
        Optical path of the object, in radians.
    ring : float
        Amplitude transmission of the phase ring, 0 to 1; the darker the ring, the more contrast.
    halo : float
        Width in pixels over which direct light is not separated from diffracted light, which
        causes bright halos around objects and shade-off within large ones.

    Returns
    -------
    float32 array
        Intensity, 1 where there is no object. Dense objects are dark.
    """
    real, imaginary = np.cos(phase), np.sin(phase)
    real_0, imaginary_0 = blur(real, halo), blur(imaginary, halo)
    # Direct light is attenuated and shifted by a quarter wave: multiplied by -i * ring.
    out_real = real - real_0 + ring * imaginary_0
    out_imaginary = imaginary - imaginary_0 - ring * real_0
    intensity: Float = ((out_real**2 + out_imaginary**2) / ring**2).astype(np.float32)
    return intensity


def interference_contrast(phase: Float, *, angle: float, shear: float, bias: float) -> Float:
    """Differential interference contrast: relief by the slope of the optical path.

    Parameters
    ----------
    phase : float array (rows, columns)
        Optical path of the object, in radians.
    angle : float
        Direction of the shear, in radians from the column axis.
    shear : float
        Distance between the two interfering beams, in pixels.
    bias : float
        Retardation between them where there is no object, in radians.

    Returns
    -------
    float32 array
        Intensity, 1 where there is no object.
    """
    half = np.array([np.sin(angle), np.cos(angle)]) * shear / 2
    ahead = ndimage.shift(phase, half, order=1, mode="nearest")
    behind = ndimage.shift(phase, -half, order=1, mode="nearest")
    intensity: Float = np.sin((ahead - behind + np.float32(bias)) / 2) ** 2
    intensity /= np.float32(np.sin(bias / 2) ** 2)
    return intensity
