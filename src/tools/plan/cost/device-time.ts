/** The compute time of a device. Products take time by their shapes, passes over memory by their bytes. */
import type { Device, MathPrecision } from '../inputs/cluster.ts'
import type { Program } from '../inputs/constants.ts'
import type { Component, ComponentKind, Product } from '../work/components.ts'

/** Peak rate in a precision by the data sheet, FLOP/s. The search refuses precisions that the device lacks. */
export function peakOf(device: Device, precision: MathPrecision): number {
  const peak = device.peak[precision]
  if (peak === undefined) throw new Error(`internal: ${device.name} has no ${precision}`)
  return peak
}

/**
 * Share of its peak that a device keeps with a limit of its power. Dynamic power is proportional to f·V², and voltage
 * rises with the frequency f, so the frequency falls with the cube root of the power.
 */
export const powerShare = ({ powerLimit, designPower }: Device): number =>
  powerLimit === undefined || designPower === undefined ? 1 : Math.min(1, powerLimit / designPower) ** (1 / 3)

/** Seconds of `count` products. @see cluster.ts for the formula and its constants */
export function productSeconds(
  device: Device,
  precision: MathPrecision,
  { count, m, n, k }: Product,
  bytes: number,
): number {
  if (count === 0 || m === 0 || n === 0 || k === 0) return 0
  const { efficiency, padM, padN, padK, fill, float8 } = device.matmul
  const rate = peakOf(device, precision) * powerShare(device) * efficiency * (precision === 'float8' ? float8 : 1)
  const flops = 2 * (count * (m + padM) * (n + padN) + fill) * (k + padK)
  const movedBytes = count * (m * k + k * n + m * n) * bytes
  return Math.max(flops / rate, passSeconds(device, movedBytes)) + device.kernel
}

const passSeconds = ({ bandwidth, bandwidthEfficiency }: Device, bytes: number): number =>
  bytes / (bandwidth * bandwidthEfficiency)

/** Compute seconds of a component, communication excluded. */
export interface ComponentSeconds {
  readonly forward: number
  readonly backward: number
  /** Seconds to recompute the part that selective recomputation drops. */
  readonly part: number
  /** Seconds to recompute what recomputation by operation drops. */
  readonly operations: number
}

/** Operations of fused attention in the backward pass, divided by the forward pass: five products instead of two. */
const FUSED_BACKWARD = 2.5

/** Computes and caches the seconds of components, since a search needs the same components many times. */
export class ComponentTimes {
  private readonly cache = new WeakMap<Component, ComponentSeconds>()
  private readonly device: Device
  private readonly precision: MathPrecision

  constructor(device: Device, precision: MathPrecision) {
    this.device = device
    this.precision = precision
  }

  /** @param bytes bytes per number in a product */
  of(component: Component, bytes: number): ComponentSeconds {
    const cached = this.cache.get(component)
    if (cached) return cached
    const { device, precision } = this
    const { products, passBytes } = component.selective
    const sum = ({ products, fused, passes }: WorkSeconds) => products + fused + passes
    const again = component.operations ?? { products: [], passBytes: 0 }
    const seconds = {
      forward: sum(forwardSeconds(device, precision, bytes, component)),
      backward: sum(backwardSeconds(device, precision, bytes, component)),
      part: productsSeconds(device, precision, bytes, component.kind, products) + passSeconds(device, passBytes),
      operations:
        productsSeconds(device, precision, bytes, component.kind, again.products) +
        passSeconds(device, again.passBytes),
    }
    this.cache.set(component, seconds)
    return seconds
  }
}

/** Seconds of a forward or backward pass, by kind of work: matrix products, fused attention, everything else. */
export interface WorkSeconds {
  readonly products: number
  readonly fused: number
  readonly passes: number
}

/** @param bytes bytes per number in a product */
type SecondsOf = (device: Device, precision: MathPrecision, bytes: number, component: Component) => WorkSeconds

export const forwardSeconds: SecondsOf = (device, precision, bytes, component) => ({
  products: productsSeconds(device, precision, bytes, component.kind, component.products),
  fused: fusedSeconds(device, precision, component),
  passes: passSeconds(device, component.passBytes) + component.kernels * device.kernel,
})

export const backwardSeconds: SecondsOf = (device, precision, bytes, component) => ({
  products: productsSeconds(device, precision, bytes, component.kind, component.products.flatMap(gradientProducts)),
  fused: FUSED_BACKWARD * fusedSeconds(device, precision, component),
  passes: passSeconds(device, component.gradientPassBytes) + component.kernels * device.kernel,
})

/** With float8, products of layers are in 8 bits; products of routers and head, and attention's scores, are in 16. */
const precisionOf = (precision: MathPrecision, kind: ComponentKind | 'scores'): MathPrecision =>
  precision === 'float8' && kind !== 'attention' && kind !== 'dense' && kind !== 'experts' ? 'bfloat16' : precision

function productsSeconds(
  device: Device,
  precision: MathPrecision,
  bytes: number,
  kind: ComponentKind,
  products: readonly Product[],
): number {
  const own = precisionOf(precision, kind)
  return products.reduce((sum, product) => {
    // The left factor is read in 16 bits, scaled, and written in 8 bits. Weights are stored in 8 bits.
    const scaled = own === 'float8' ? product.count * product.m * product.k * (bytes + 1) : 0
    return sum + productSeconds(device, own, product, bytes) + passSeconds(device, scaled)
  }, 0)
}

/**
 * Seconds of fused attention. Narrow heads have short products, which reach less of the peak than
 * `attentionEfficiency`, the share of heads of width 128.
 */
function fusedSeconds(device: Device, precision: MathPrecision, component: Component): number {
  const { fusedFlops, fusedQueries, headWidth } = component
  if (fusedFlops === 0) return 0
  const { attentionEfficiency, attentionPad, attentionQuery } = device
  const share = (headWidth / (headWidth + attentionPad)) * ((128 + attentionPad) / 128)
  const rate =
    peakOf(device, precisionOf(precision, 'scores')) * powerShare(device) * Math.min(1, attentionEfficiency * share)
  return fusedFlops / rate + fusedQueries * attentionQuery
}

/** Products that compute the gradients of [m, k]·[k, n]: [m, n]·[n, k] and [k, m]·[m, n]. */
const gradientProducts = ({ count, m, n, k }: Product): Product[] => [
  { count, m, n: k, k: n },
  { count, m: k, n, k: m },
]

/** Numbers of kernels that the host starts for a component. */
export function launchesOf(component: Component): { forward: number; backward: number } {
  const { products, kernels, starts, fusedFlops } = component
  const others = kernels + (fusedFlops > 0 ? 1 : 0)
  return { forward: products.length + others + starts, backward: 2 * products.length + others + 2 * starts }
}

/** The device as a class of programs uses it: FSDP programs have PyTorch's own attention. */
export function deviceFor(device: Device, program: Program): Device {
  const { attentionEfficiency, torchAttentionEfficiency } = device
  return program === 'fsdp' && torchAttentionEfficiency !== undefined
    ? { ...device, attentionEfficiency: Math.min(attentionEfficiency, torchAttentionEfficiency) }
    : device
}
