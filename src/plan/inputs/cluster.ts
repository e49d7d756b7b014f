/**
 * A cluster: equal devices, equal nodes, and the links between them. All that a user can say about hardware,
 * with names of units in the file and base units inside.
 */
import { z } from 'zod'
import { bytes, bytesPerSecond, flopsPerSecond, seconds } from './quantities.ts'

const positive = z.int().positive()
const share = z.number().positive().max(1)

export const precisions = ['float32', 'tf32', 'float16', 'bfloat16'] as const
/** Precision of the factors of matrix products. */
export type MathPrecision = (typeof precisions)[number]

/**
 * How near to its peak a device multiplies an m × k by a k × n matrix, `count` of them at once:
 *
 *     seconds = 2 · (count · (m + padM) · (n + padN) + fill) · (k + padK) / (peak · efficiency)
 *
 * The pads are the rows, columns and depth that a small product pays without using (tiles that are not full,
 * the start and end of the pipeline of a tile); `fill` is the number of results below which the device has too
 * few tiles for its cores. Large products reach `efficiency` of the peak.
 */
const matmulSchema = z
  .strictObject({
    efficiency: share.default(0.85),
    padM: z.number().nonnegative().default(224),
    padN: z.number().nonnegative().default(224),
    padK: z.number().nonnegative().default(224),
    fill: z.number().nonnegative().default(2e6),
  })
  .prefault({})

const deviceSchema = z.strictObject({
  name: z.string().min(1).default('device'),
  memory: bytes,
  /** Memory that no training gets: driver, libraries, buffers of the collectives. */
  reserved: bytes.prefault('1.5 GiB'),
  /** Memory of the host for each device, for offloading; not limited when it is not given. */
  hostMemory: bytes.optional(),
  bandwidth: bytesPerSecond,
  /** Rate of matrix products by the precision of their factors; one that is missing is not offered. */
  peak: z.strictObject({
    float32: flopsPerSecond,
    tf32: flopsPerSecond.optional(),
    float16: flopsPerSecond.optional(),
    bfloat16: flopsPerSecond.optional(),
  }),
  matmul: matmulSchema,
  /** Share of the bandwidth that passes over memory reach. */
  bandwidthEfficiency: share.default(0.9),
  /** Share of the bandwidth that the optimizer's update reaches: one pass over long arrays. */
  updateEfficiency: share.default(0.9),
  /** Share of the peak that fused attention reaches, forward and backward. */
  attentionEfficiency: share.default(0.4),
  /** What a query of a head costs in fused attention beside its operations: short sequences feel it. */
  attentionQuery: seconds.prefault('0 s'),
  /** What starting a kernel costs when it is too small to hide it. */
  kernel: seconds.prefault('2 us'),
})

/** One direction, for each device, when all devices send at once. */
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
      /** Between the devices of a node. */
      node: linkSchema,
      /** Between nodes. Its bandwidth is for each *node*: the sum of the node's network ports. */
      network: linkSchema.extend({
        /** Bandwidth that the switches lack when all nodes send: 2 means that half of it arrives. */
        oversubscription: z.number().min(1).default(1),
      }),
      /** Between a device and its host; for offloading. */
      host: linkSchema.optional(),
    }),
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
/** In base units: bytes, bytes a second, FLOP/s, seconds. */
export type Cluster = z.output<typeof clusterSchema>
export type Device = Cluster['device']
