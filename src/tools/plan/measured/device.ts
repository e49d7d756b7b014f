/**
 * Efficiencies and power of a device from measured products and limits.
 *
 * Products that are measured alone run faster than in a training, where the efficiencies of the planner were fitted:
 * other kernels take their turn, caches are cold, and power is limited for longer. So the measured share of the peak is
 * multiplied by the share that trainings keep, which is known for the devices that have both.
 */
import { UsageError } from '../../../core/errors.ts'
import { peakOf, powerShare } from '../cost/device-time.ts'
import type { Calibrated, Device } from '../inputs/cluster.ts'
import { clusterFamilies } from '../inputs/clusters.ts'
import { type EfficiencyFamily, efficiencyFamilyOf } from '../inputs/constants.ts'
import { fitted } from '../inputs/fitted.ts'
import type { MeasuredPower, MeasuredProduct } from './products.ts'

/**
 * Largest share of the peak that `mamf-finder.py` found for bfloat16: the table "Maximum Achievable Matmul FLOPS" of the
 * ML Engineering book at 744d01e (A100 271.2 of 312 TFLOP/s, H100 794.5 of 989, B200 1745 of 2250).
 */
const aloneShares: Readonly<Partial<Record<EfficiencyFamily, number>>> = {
  a100: 271.2 / 312,
  h100: 794.5 / 989,
  blackwell: 1745 / 2250,
}

/** Share of the rate of a product alone that trainings keep on a family; on other devices the geometric mean. */
export function keptInTraining(family: EfficiencyFamily | undefined): number {
  const alone = family && aloneShares[family]
  if (family && alone) return fitted[family] / alone
  const known = Object.entries(aloneShares) as [EfficiencyFamily, number][]
  return Math.exp(known.reduce((sum, [name, share]) => sum + Math.log(fitted[name] / share), 0) / known.length)
}

/** Operations below which a product does not reach the rate of large ones: 4096³ products have 1.4·10¹¹. */
const LARGE = 1e11

/** The family of a device whose efficiencies were fitted. */
function familyOf({ name, constants }: Device): EfficiencyFamily | undefined {
  if (constants !== 'fitted') return undefined
  const found = Object.entries(clusterFamilies).find(([, { cluster }]) => cluster.device.name === name)
  return found && efficiencyFamilyOf(found[0])
}

/** @throws UsageError if products are small, faster than the peak, or of a precision that the device lacks */
export function calibrateDevice(
  device: Device,
  products: readonly MeasuredProduct[],
  power: readonly MeasuredPower[],
): { device: Device; calibrated: Calibrated[] } {
  const limited = withPower(device, power)
  const scaled = withProducts(limited.device, products)
  return { device: scaled.device, calibrated: [...limited.calibrated, ...scaled.calibrated] }
}

const calibratedBy = (
  field: string,
  before: number,
  after: number,
  rows: readonly { readonly file: string }[],
): Calibrated => ({
  field: `device.${field}`,
  before,
  after,
  files: [...new Set(rows.map(({ file }) => file))],
  times: rows.length,
  error: null,
})

function withPower(device: Device, power: readonly MeasuredPower[]): { device: Device; calibrated: Calibrated[] } {
  if (power.length === 0) return { device, calibrated: [] }
  const designPower = device.designPower ?? Math.max(...power.map(({ design }) => design))
  const powerLimit = Math.min(...power.map(({ limit }) => limit))
  return {
    device: { ...device, designPower, powerLimit },
    calibrated: [calibratedBy('powerLimit', device.powerLimit ?? designPower, powerLimit, power)],
  }
}

function withProducts(
  device: Device,
  products: readonly MeasuredProduct[],
): { device: Device; calibrated: Calibrated[] } {
  const of = (name: MeasuredProduct['precision']) => products.filter(({ precision }) => precision === name)
  for (const { file, precision } of products)
    if (device.peak[precision] === undefined)
      throw new UsageError(
        `invalid --measured ${file}: ${device.name} has no peak for ${precision} (set device.peak.${precision} in a cluster file)`,
      )
  const wide = (['bfloat16', 'float16', 'tf32', 'float32'] as const).map(of).find((rows) => rows.length > 0)
  const narrow = of('float8')
  if (!wide) {
    const [first] = narrow
    if (!first) return { device, calibrated: [] }
    throw new UsageError(
      `invalid --measured ${first.file}: only products in float8 (add one in 16 bits, to which they are compared)`,
    )
  }
  const share = bestShare(device, wide)
  const family = familyOf(device)
  const efficiency = share * keptInTraining(family)
  const float8 = narrow.length > 0 ? Math.min(1, bestShare(device, narrow) / share) : device.matmul.float8
  const isKnown = family !== undefined && aloneShares[family] !== undefined
  return {
    device: {
      ...device,
      matmul: { ...device.matmul, efficiency, float8 },
      constants: isKnown ? device.constants : 'products',
    },
    calibrated: [
      calibratedBy('matmul.efficiency', device.matmul.efficiency, efficiency, wide),
      ...(narrow.length > 0 ? [calibratedBy('matmul.float8', device.matmul.float8, float8, narrow)] : []),
    ],
  }
}

/** Share of the peak, at the limit of the power, that the fastest large product reaches. */
function bestShare(device: Device, products: readonly MeasuredProduct[]): number {
  const file = products[0]?.file ?? ''
  const large = products.filter(({ count, m, n, k }) => 2 * count * m * n * k >= LARGE)
  if (large.length === 0)
    throw new UsageError(
      `invalid --measured ${file}: its products are small (include 4096 × 4096 × 4096 or larger ones)`,
    )
  const shares = large.map(({ flopsPerSecond, precision }) => flopsPerSecond / peakOf(device, precision))
  const share = Math.max(...shares)
  if (share > 1)
    throw new UsageError(
      `invalid --measured ${file}: a product reaches ${share.toFixed(2)} times the peak of ${device.name} (correct the unit, or device.peak in a cluster file)`,
    )
  return share / powerShare(device)
}
