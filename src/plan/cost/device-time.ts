/** Compute time of a device: products by their shape, passes by their bytes. */
import type { Device, MathPrecision } from '../inputs/cluster.ts'
import type { Component, Product } from '../work/components.ts'

/** Peak rate in a precision, FLOP/s. The search refuses precisions that the device lacks. */
export function peakOf(device: Device, precision: MathPrecision): number {
  const peak = device.peak[precision]
  if (peak === undefined) throw new Error(`internal: ${device.name} has no ${precision}`)
  return peak
}

/** @see cluster.ts for the formula and its constants */
export function productSeconds(
  device: Device,
  precision: MathPrecision,
  { count, m, n, k }: Product,
  bytes: number,
): number {
  if (count === 0 || m === 0 || n === 0 || k === 0) return 0
  const { efficiency, padM, padN, padK, fill } = device.matmul
  const flops = 2 * (count * (m + padM) * (n + padN) + fill) * (k + padK)
  const movedBytes = count * (m * k + k * n + m * n) * bytes
  return Math.max(flops / (peakOf(device, precision) * efficiency), passSeconds(device, movedBytes)) + device.kernel
}

const passSeconds = ({ bandwidth, bandwidthEfficiency }: Device, bytes: number): number =>
  bytes / (bandwidth * bandwidthEfficiency)

/** Compute seconds of a component, communication excluded. */
export interface ComponentSeconds {
  readonly forward: number
  readonly backward: number
  /** To recompute what selective recomputation dropped. */
  readonly scores: number
}

/** Operations of fused attention, backward over forward: five products instead of two. */
const FUSED_BACKWARD = 2.5

/** Caches the seconds of components, since a search needs the same ones many times. */
export class ComponentTimes {
  private readonly cache = new WeakMap<Component, ComponentSeconds>()
  private readonly device: Device
  private readonly precision: MathPrecision

  constructor(device: Device, precision: MathPrecision) {
    this.device = device
    this.precision = precision
  }

  /** @param bytes per number in a product */
  of(component: Component, bytes: number): ComponentSeconds {
    const cached = this.cache.get(component)
    if (cached) return cached
    const { device, precision } = this
    const { products, passBytes } = component.scores
    const sum = (work: WorkSeconds) => work.products + work.fused + work.passes
    const seconds = {
      forward: sum(forwardSeconds(device, precision, bytes, component)),
      backward: sum(backwardSeconds(device, precision, bytes, component)),
      scores: productsSeconds(device, precision, bytes, products) + passSeconds(device, passBytes),
    }
    this.cache.set(component, seconds)
    return seconds
  }
}

/** Seconds forward or backward, by kind of work: matrix products, fused attention, everything else. */
export interface WorkSeconds {
  readonly products: number
  readonly fused: number
  readonly passes: number
}

/** @param bytes per number in a product */
type SecondsOf = (device: Device, precision: MathPrecision, bytes: number, component: Component) => WorkSeconds

export const forwardSeconds: SecondsOf = (device, precision, bytes, component) => ({
  products: productsSeconds(device, precision, bytes, component.products),
  fused: fusedSeconds(device, precision, component),
  passes: passSeconds(device, component.passBytes) + component.kernels * device.kernel,
})

export const backwardSeconds: SecondsOf = (device, precision, bytes, component) => ({
  products: productsSeconds(device, precision, bytes, component.products.flatMap(gradientProducts)),
  fused: FUSED_BACKWARD * fusedSeconds(device, precision, component),
  passes: passSeconds(device, component.gradientPassBytes) + component.kernels * device.kernel,
})

const productsSeconds = (device: Device, precision: MathPrecision, bytes: number, products: readonly Product[]) =>
  products.reduce((sum, product) => sum + productSeconds(device, precision, product, bytes), 0)

const fusedSeconds = (device: Device, precision: MathPrecision, { fusedFlops, fusedQueries }: Component): number =>
  fusedFlops / (peakOf(device, precision) * device.attentionEfficiency) + fusedQueries * device.attentionQuery

/** Products of the gradients of [m, k]·[k, n]: [m, n]·[n, k] and [k, m]·[m, n]. */
const gradientProducts = ({ count, m, n, k }: Product): Product[] => [
  { count, m, n: k, k: n },
  { count, m: k, n, k: m },
]
