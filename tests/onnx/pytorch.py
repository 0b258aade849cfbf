"""Train a small network in PyTorch and export it, as a user of bitsback would.

    python pytorch.py lenet-5 --data data/mnist -o lenet-5.onnx
    python pytorch.py resnet-8 --data data/mnist -o resnet-8.onnx --epochs 3

`--data` is a folder with the four files of MNIST or Fashion-MNIST. Beside the ONNX file, the same
weights are written as lenet-5.pt and lenet-5.safetensors. Needs what tests/bench/requirements.txt
lists; `cargo xtask bench pytorch` runs it and everything that follows.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    """Caffe's: 20 and 50 filters of 5 x 5, 500 features."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        body = functional.relu(self.norms[0](self.first(x)))
        body = self.norms[1](self.second(body))
        return functional.relu(body + (x if self.short is None else self.short(x)))


class ResNet8(nn.Module):
    """MLPerf Tiny's, for small images of one channel: the first convolution halves them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(functional.relu(self.stem(x)))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


NETWORKS = {"lenet-5": LeNet5, "resnet-8": ResNet8}


def idx(folder, name):
    path = next(p for p in (folder / name, folder / f"{name}.gz") if p.exists())
    raw = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def load(folder, part):
    images = idx(folder, f"{part}-images-idx3-ubyte")
    labels = idx(folder, f"{part}-labels-idx1-ubyte")
    pixels = torch.from_numpy(images.astype(np.float32) / 255)[:, None]
    return pixels, torch.from_numpy(labels.astype(np.int64))


def error_percent(model, images, labels):
    model.eval()
    with torch.no_grad():
        classes = torch.cat([model(x).argmax(1) for x in images.split(500)])
    return 100 * (classes != labels).float().mean().item()


def train(model, images, labels, epochs, batch):
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        start = time.time()
        order = torch.randperm(len(images))[: len(images) // batch * batch]
        for chosen in order.split(batch):
            loss = functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, {time.time() - start:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    start = time.time()
    model = NETWORKS[arguments.network]()
    train(model, *load(arguments.data, "train"), arguments.epochs, arguments.batch)
    seconds = time.time() - start
    error = error_percent(model, *load(arguments.data, "t10k"))
    torch.onnx.export(model, (torch.zeros(1, 1, 28, 28),), str(arguments.output), dynamo=True)
    torch.save(model.state_dict(), arguments.output.with_suffix(".pt"))
    save_file(model.state_dict(), arguments.output.with_suffix(".safetensors"))
    print(json.dumps({"error_percent": error, "seconds": seconds, "version": torch.__version__}))


if __name__ == "__main__":
    main()
