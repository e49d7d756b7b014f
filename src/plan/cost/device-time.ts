/** How long a device computes: products by their shape, passes by their bytes. */
import type { Device, MathPrecision } from '../inputs/cluster.ts'
import type { Component, Product } from '../work/components.ts'

/** Peak rate in a precision, FLOP/s. @throws when the device has none: the search asks `offers` first */
export function peakOf(device: Device, precision: MathPrecision): number {
  const peak = device.peak[precision]
  if (peak === undefined) throw new Error(`internal: ${device.name} has no ${precision}`)
  return peak
}

/** @see cluster.ts for the formula and what its constants mean */
export function productSeconds(
  device: Device,
  precision: MathPrecision,
  { count, m, n, k }: Product,
  bytes: number,
): number {
  if (count === 0 || m === 0 || n === 0 || k === 0) return 0
  const { efficiency, padM, padN, padK, fill } = device.matmul
  const computed = 2 * (count * (m + padM) * (n + padN) + fill) * (k + padK)
  const moved = count * (m * k + k * n + m * n) * bytes
  return Math.max(computed / (peakOf(device, precision) * efficiency), passSeconds(device, moved)) + device.kernel
}

const passSeconds = ({ bandwidth, bandwidthEfficiency }: Device, bytes: number): number =>
  bytes / (bandwidth * bandwidthEfficiency)

/** Seconds of the forward pass and of the backward pass of a block, without what other devices are waited for. */
export interface BlockSeconds {
  readonly forward: number
  readonly backward: number
  /** To have again what selective recomputation dropped. */
  readonly scores: number
}

/** Operations of fused attention's backward pass, over those of its forward pass: five products instead of two. */
const FUSED_BACKWARD = 2.5

/** A search asks for the same blocks again and again. */
export class BlockTimes {
  private readonly known = new WeakMap<Component, BlockSeconds>()
  private readonly device: Device
  private readonly precision: MathPrecision

  constructor(device: Device, precision: MathPrecision) {
    this.device = device
    this.precision = precision
  }

  /** @param bytes of a number in a product */
  of(block: Component, bytes: number): BlockSeconds {
    const known = this.known.get(block) ?? blockSeconds(this.device, this.precision, bytes, block)
    this.known.set(block, known)
    return known
  }
}

/** Seconds of one direction by what is done: matrix products, fused attention, and all else. */
export interface WorkSeconds {
  readonly products: number
  readonly fused: number
  readonly passes: number
}

/** @param bytes of a number in a product */
export function forwardSeconds(device: Device, precision: MathPrecision, bytes: number, block: Component): WorkSeconds {
  return {
    products: productsSeconds(device, precision, bytes, block.products),
    fused: fusedSeconds(device, precision, block),
    passes: passSeconds(device, block.passBytes) + block.kernels * device.kernel,
  }
}

/** @param bytes of a number in a product */
export function backwardSeconds(
  device: Device,
  precision: MathPrecision,
  bytes: number,
  block: Component,
): WorkSeconds {
  return {
    products: productsSeconds(device, precision, bytes, block.products.flatMap(gradientProducts)),
    fused: FUSED_BACKWARD * fusedSeconds(device, precision, block),
    passes: passSeconds(device, block.gradientPassBytes) + block.kernels * device.kernel,
  }
}

function blockSeconds(device: Device, precision: MathPrecision, bytes: number, block: Component): BlockSeconds {
  const sum = ({ products, fused, passes }: WorkSeconds) => products + fused + passes
  return {
    forward: sum(forwardSeconds(device, precision, bytes, block)),
    backward: sum(backwardSeconds(device, precision, bytes, block)),
    scores:
      productsSeconds(device, precision, bytes, block.scores.products) + passSeconds(device, block.scores.passBytes),
  }
}

const productsSeconds = (device: Device, precision: MathPrecision, bytes: number, products: readonly Product[]) =>
  products.reduce((sum, product) => sum + productSeconds(device, precision, product, bytes), 0)

const fusedSeconds = (device: Device, precision: MathPrecision, { fusedFlops, fusedQueries }: Component): number =>
  fusedFlops / (peakOf(device, precision) * device.attentionEfficiency) + fusedQueries * device.attentionQuery

/** The gradient of [m, k]·[k, n] by its factors: [m, n]·[n, k] and [k, m]·[m, n]. */
const gradientProducts = ({ count, m, n, k }: Product): Product[] => [
  { count, m, n: k, k: n },
  { count, m: k, n, k: m },
]
