"""SSIM and PSNR against scikit-image and hand-worked values."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from orbitlite.verification.similarity import Similarity


def fields(seed, shape=(3, 17, 23)):
    generator = np.random.default_rng(seed)
    truth = generator.gamma(0.6, 5.0, shape)
    prediction = 0.7 * truth + 0.2 * np.roll(truth, 1, axis=-1) + generator.random(shape)
    return torch.from_numpy(prediction), torch.from_numpy(truth)


def run(prediction, truth, weights=None, data_range=30.0, center=0.0):
    weights = torch.ones_like(truth) if weights is None else weights
    score = Similarity(data_range, center)
    for start in range(0, len(truth), 2):
        part = slice(start, start + 2)
        score.update(prediction[part], truth[part], weights[part])
    return score.compute()


@pytest.mark.parametrize("center", [0.0, 4.0])
def test_agrees_with_scikit_image_day_by_day(center):
    prediction, truth = fields(0)
    wanted = [
        structural_similarity(
            t, p, data_range=30.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for p, t in zip(prediction.numpy(), truth.numpy(), strict=True)
    ]
    found = run(prediction, truth, center=center)
    assert found["ssim"] == pytest.approx(np.mean(wanted), abs=1e-10)
    psnr = peak_signal_noise_ratio(truth.numpy(), prediction.numpy(), data_range=30.0)
    assert found["psnr"] == pytest.approx(psnr)


def test_the_map_is_averaged_by_area():
    prediction, truth = fields(1, shape=(1, 17, 23))
    _, full = structural_similarity(
        truth[0].numpy(), prediction[0].numpy(), data_range=30.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    weights = torch.linspace(1, 9, 17, dtype=torch.float64)[None, :, None].expand_as(truth)
    inner = np.s_[5:-5, 5:-5]
    wanted = np.average(full[inner], weights=weights[0].numpy()[inner])
    assert run(prediction, truth, weights)["ssim"] == pytest.approx(wanted)


def test_missing_cells_leave_the_window():
    prediction, truth = fields(2, shape=(1, 11, 11))
    weights = torch.ones_like(truth)
    weights[0, 4, 5] = weights[0, 8, 2] = 0.0
    offsets = np.arange(-5, 6)
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None, :] ** 2) / 1.5**2)
    kernel = kernel * weights[0].numpy()
    kernel /= kernel.sum()
    p, t = prediction[0].numpy(), truth[0].numpy()
    mean_p, mean_t = (kernel * p).sum(), (kernel * t).sum()
    spread_p = (kernel * (p - mean_p) ** 2).sum()
    spread_t = (kernel * (t - mean_t) ** 2).sum()
    covariance = (kernel * (p - mean_p) * (t - mean_t)).sum()
    c1, c2 = 0.3**2, 0.9**2
    wanted = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    wanted /= (mean_p**2 + mean_t**2 + c1) * (spread_p + spread_t + c2)
    spoiled = torch.where(weights > 0, prediction, 7e5)
    assert run(spoiled, truth, weights)["ssim"] == pytest.approx(wanted)


def test_psnr_pools_all_days():
    truth = torch.zeros(2, 12, 12, dtype=torch.float64)
    truth[:, 0, 0] = 10.0
    prediction = truth.clone()
    prediction[1] += 1.0
    # MSE is 0 on the first day and 1 on the second.
    found = run(prediction, truth, data_range=10.0)
    assert found["psnr"] == pytest.approx(10 * np.log10(100 / 0.5))


def test_perfect_shifted_and_scaled_predictions():
    prediction, truth = fields(3)
    perfect = run(truth, truth)
    assert perfect["ssim"] == pytest.approx(1.0)
    assert perfect["psnr"] == np.inf
    right, shifted = run(prediction, truth), run(prediction.roll(3, dims=-1), truth)
    assert shifted["ssim"] < right["ssim"] - 0.1
    assert shifted["psnr"] < right["psnr"] - 1.0
    # The prediction must not stand in for the truth, nor the truth for the prediction.
    assert right["ssim"] < 0.99
    assert run(2 * prediction, truth)["ssim"] < right["ssim"]


def test_small_grids_and_constant_truth_are_nan():
    prediction, truth = fields(4, shape=(2, 10, 30))
    found = run(prediction, truth)
    assert np.isnan(found["ssim"])
    assert np.isfinite(found["psnr"])
    assert np.isnan(run(prediction, truth, data_range=0.0)["psnr"])
