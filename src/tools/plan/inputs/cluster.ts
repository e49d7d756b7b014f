/**
 * The schema of a cluster: identical devices in identical nodes, and the links between them. Users write quantities
 * with units; the parsed values are in base units.
 */
import { z } from 'zod'
import { constantSources } from './constants.ts'
import { fitted } from './fitted.ts'
import { bytes, bytesPerSecond, flopsPerSecond, seconds, watts } from './quantities.ts'

const positive = z.int().positive()
const share = z.number().positive().max(1)

export const precisions = ['float32', 'tf32', 'float16', 'bfloat16', 'float8'] as const
/** Precision of the factors of matrix products. */
export type MathPrecision = (typeof precisions)[number]

/**
 * Constants for the time of `count` products of an m × k by a k × n matrix:
 *
 *     seconds = 2 · (count · (m + padM) · (n + padN) + fill) · (k + padK) / (peak · efficiency)
 *
 * The pads are rows, columns and depth that a small product pays for without using them (partly filled tiles,
 * filling and draining the pipeline of a tile). With fewer results than `fill` the device has too few tiles for
 * its cores. Large products reach `efficiency` of the peak.
 */
const matmulSchema = z
  .strictObject({
    efficiency: share.optional(),
    padM: z.number().nonnegative().default(fitted.pad),
    padN: z.number().nonnegative().default(fitted.pad),
    padK: z.number().nonnegative().default(fitted.pad),
    fill: z.number().nonnegative().default(2e6),
    /** Efficiency of float8 products, divided by the efficiency of other products. */
    float8: share.default(fitted.float8),
  })
  .prefault({})

const deviceSchema = z
  .strictObject({
    name: z.string().min(1).default('device'),
    memory: bytes,
    /** Memory that a training cannot use: driver, libraries, buffers of the collectives. */
    reserved: bytes.prefault('1.5 GiB'),
    /** Host memory available to each device for offloading; unlimited if not given. */
    hostMemory: bytes.optional(),
    bandwidth: bytesPerSecond,
    /** Largest power of a device with its share of the server; energy is not predicted without it. */
    power: watts.optional(),
    /** Power of the device alone at which it reaches its peak (TDP). */
    designPower: watts.optional(),
    /** Power to which the device is limited, if below `designPower`; it lowers the rate of products. */
    powerLimit: watts.optional(),
    /** Rate of matrix products by the precision of their factors. A precision without a rate is not supported. */
    peak: z.strictObject({
      float32: flopsPerSecond,
      tf32: flopsPerSecond.optional(),
      float16: flopsPerSecond.optional(),
      bfloat16: flopsPerSecond.optional(),
      float8: flopsPerSecond.optional(),
    }),
    matmul: matmulSchema,
    /** Share of the bandwidth that a pass over memory reaches. */
    bandwidthEfficiency: share.default(fitted.bandwidth),
    /** Share of the bandwidth that the optimizer's update reaches, which is one pass over long arrays. */
    updateEfficiency: share.default(0.9),
    /** Share of the peak that fused attention with heads of width 128 reaches, forward and backward. */
    attentionEfficiency: share.default(fitted.attention),
    /** The same of PyTorch's own attention (`plan.program=fsdp`), if that is lower. */
    torchAttentionEfficiency: share.optional(),
    /** Columns that a head pays for in fused attention without having them. */
    attentionPad: z.number().nonnegative().default(64),
    /** Fixed cost of a query of one head in fused attention; noticeable with short sequences. */
    attentionQuery: seconds.prefault('0 s'),
    /** Part of a kernel's launch cost that is not hidden. */
    kernel: seconds.prefault('2 us'),
    /** Time of the host to start a kernel. A pass with many short kernels takes as long as their starts. */
    launch: seconds.prefault(`${fitted.launch} s`),
    /**
     * Source of the efficiencies: they are `fitted` to published measurements, `given` by `matmul.efficiency`, or
     * `measured` on the machine itself (`--cluster local`), without an interval. If they are `unfitted`, they are the
     * efficiencies of an average device, and if they are `borrowed`, of the device that a cluster file extends; both
     * have a warning and a wider interval. Default: `given` if there is a `matmul.efficiency`, else `unfitted`.
     */
    constants: z.enum(constantSources).optional(),
  })
  .transform(({ matmul, constants, ...device }) => ({
    ...device,
    constants: constants ?? (matmul.efficiency === undefined ? ('unfitted' as const) : ('given' as const)),
    matmul: { ...matmul, efficiency: matmul.efficiency ?? fitted.any },
  }))

/** Values for one direction and one device, while all devices send. */
const linkSchema = z.strictObject({
  bandwidth: bytesPerSecond,
  latency: seconds.prefault('5 us'),
  /** Share of the bandwidth that collectives reach with large messages. */
  efficiency: share.default(0.8),
})

export const clusterSchema = z
  .strictObject({
    name: z.string().min(1).default('cluster'),
    devices: positive,
    devicesPerNode: positive.default(8),
    device: deviceSchema,
    links: z.strictObject({
      /** Link between the devices of a node. */
      node: linkSchema,
      /** Link between nodes. Its bandwidth is for each *node*: the sum of the node's network ports. */
      network: linkSchema.extend({
        /** Oversubscription of the switches: 2 halves the bandwidth when all nodes send. */
        oversubscription: z.number().min(1).default(1),
      }),
      /** Link between a device and its host, for offloading. */
      host: linkSchema.optional(),
    }),
    /** Share of the links' bandwidth that all-to-alls of experts reach, divided by the share of other collectives. */
    dispatchEfficiency: share.default(fitted.dispatch),
    /** Bandwidth at which a device writes its part of a checkpoint, while all devices write. */
    storage: bytesPerSecond.prefault('125 MB/s'),
    /** Failures that end a training. */
    failures: z
      .strictObject({
        /** Mean device-hours between failures; default: the middle of published trainings (`cost/failures.ts`). */
        deviceHours: z.number().positive().optional(),
        /** Time from a failure to the first step after it. */
        restart: seconds.prefault('10 min'),
      })
      .prefault({}),
    /** Price of one device for an hour, in any currency. */
    pricePerDeviceHour: z.number().nonnegative().optional(),
  })
  .superRefine(({ devices, devicesPerNode }, context) => {
    if (devices > devicesPerNode && devices % devicesPerNode !== 0)
      context.addIssue({
        code: 'custom',
        path: ['devices'],
        message: `must be a multiple of devicesPerNode ${devicesPerNode}`,
      })
  })

export type ClusterInput = z.input<typeof clusterSchema>
/** A parsed cluster, in base units: bytes, bytes a second, FLOP/s, seconds. */
export type Cluster = z.output<typeof clusterSchema> & {
  /** Constants that were measured on the cluster (`--measured`). */
  readonly calibration?: readonly Calibrated[]
}

/** A constant of a cluster that a measurement replaced. */
export interface Calibrated {
  /** `links.node.rate` and the like: bytes a second that a device, or a node with its network, reaches. */
  readonly field: string
  readonly before: number
  readonly after: number
  readonly files: readonly string[]
  /** Number of measured times. */
  readonly times: number
  /** Median of |predicted / measured − 1|, with the calibrated cluster. */
  readonly error: number
}

export type Device = Cluster['device']
