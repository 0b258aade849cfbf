"""The variational training step of tests/bench/training.rs in PyTorch, for comparison.

Same networks, layers by local reparameterisation, normal-Jeffreys group scales, KL, learning
rates, batch and number of threads; data preloaded, Adam fused. Prints one JSON object.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F

EXAMPLES = 55_000
CLASSES = 10
# The approximation of the normal-Jeffreys KL (Molchanov et al., 2017, eq. 14).
K1, K2, K3 = 0.63576, 1.87320, 1.48695
LEAST, MOST, FIRST_MOST = -30.0, 10.0, -3.2
INITIAL = -6.0


class Bayesian(nn.Module):
    """Weights and biases N(mean, exp(log_variance)); one scale per group."""

    def __init__(self, weight, groups, ceiling):
        super().__init__()
        outputs = weight.shape[0]
        start = min(INITIAL, ceiling)
        self.ceiling = ceiling
        self.weight = nn.Parameter(weight)
        self.weight_log_variance = nn.Parameter(torch.full_like(weight, start))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.bias_log_variance = nn.Parameter(torch.full((outputs,), start))
        self.z = nn.Parameter(torch.ones(groups))
        self.z_log_variance = nn.Parameter(torch.full((groups,), INITIAL))

    def scales(self, batch):
        noise = torch.randn(batch, self.z.numel())
        return torch.addcmul(self.z, noise, (0.5 * self.z_log_variance).exp())

    def kl(self, scale_weight):
        total = 0.0
        for mean, log_variance in (
            (self.weight, self.weight_log_variance),
            (self.bias, self.bias_log_variance),
        ):
            terms = log_variance.exp() + mean.square() - 1.0 - log_variance
            total = total + 0.5 * terms.sum()
        log_alpha = self.z_log_variance - torch.log(self.z.square() + 1e-8)
        scales = K1 + 0.5 * F.softplus(-log_alpha) - K1 * torch.sigmoid(K2 + K3 * log_alpha)
        return total + scale_weight * scales.sum()

    def confine(self):
        with torch.no_grad():
            self.weight_log_variance.clamp_(LEAST, self.ceiling)
            self.bias_log_variance.clamp_(LEAST, self.ceiling)


class Dense(Bayesian):
    def __init__(self, inputs, outputs, gain=2.0, ceiling=MOST):
        weight = torch.randn(outputs, inputs) * (gain / inputs) ** 0.5
        super().__init__(weight, inputs, ceiling)

    def forward(self, x):
        x = x * self.scales(x.shape[0])
        mean = F.linear(x, self.weight, self.bias)
        variance = F.linear(
            x.square(), self.weight_log_variance.exp(), self.bias_log_variance.exp()
        )
        return torch.addcmul(mean, variance.sqrt(), torch.randn_like(mean))


class Conv2d(Bayesian):
    def __init__(self, channels, filters, kernel, ceiling=MOST):
        fan_in = channels * kernel * kernel
        weight = torch.randn(filters, channels, kernel, kernel) * (2.0 / fan_in) ** 0.5
        super().__init__(weight, filters, ceiling)

    def forward(self, x):
        mean = F.conv2d(x, self.weight, self.bias)
        variance = F.conv2d(
            x.square(), self.weight_log_variance.exp(), self.bias_log_variance.exp()
        )
        h = torch.addcmul(mean, variance.sqrt(), torch.randn_like(mean))
        return h * self.scales(x.shape[0])[:, :, None, None]


class LeNet300(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [Dense(784, 300, ceiling=FIRST_MOST), Dense(300, 100), Dense(100, 10, gain=1.0)]
        )

    def forward(self, x):
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(x.flatten(1))))))


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                Conv2d(1, 20, 5, ceiling=FIRST_MOST),
                Conv2d(20, 50, 5),
                Dense(800, 500),
                Dense(500, 10, gain=1.0),
            ]
        )

    def forward(self, x):
        first, second, third, fourth = self.layers
        x = F.relu(F.max_pool2d(first(x), 2))
        x = F.relu(F.max_pool2d(second(x), 2))
        return fourth(F.relu(third(x.flatten(1))))


NETWORKS = {"lenet-300-100": LeNet300, "lenet-5": LeNet5}


def optimiser(model):
    rates = {"weight": 1e-3, "bias": 1e-3, "z": 2e-3, "z_log_variance": 5e-2}
    groups = {}
    for name, parameter in model.named_parameters():
        rate = rates.get(name.rsplit(".", 1)[-1], 2e-2)
        groups.setdefault(rate, []).append(parameter)
    groups = [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    inputs = torch.rand(EXAMPLES, 1, 28, 28)
    labels = torch.randint(CLASSES, (EXAMPLES,))
    model = NETWORKS[args.network]()
    adam = optimiser(model)
    order = torch.randperm(EXAMPLES)
    per_epoch = -(-EXAMPLES // args.batch)

    def step(number):
        indices = order[number * args.batch :][: args.batch]
        temperature = number / per_epoch
        adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs[indices]), labels[indices])
        kl = sum(layer.kl(1.0) for layer in model.layers)
        (loss + temperature / EXAMPLES * kl).backward()
        adam.step()
        for layer in model.layers:
            layer.confine()
        return loss.item()

    for number in range(args.warm_up):
        step(number)
    start = time.perf_counter()
    for number in range(args.warm_up, args.warm_up + args.steps):
        loss = step(number)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "loss": loss, "version": torch.__version__}))


if __name__ == "__main__":
    main()
