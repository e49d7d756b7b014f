/**
 * Clusters by name: `v100-480` is 480 V100s. Peaks, memory and bandwidths come from the vendors' data sheets;
 * efficiencies are fitted, see docs/planner.md.
 */
import type { ClusterInput } from './cluster.ts'

type Cluster = Omit<ClusterInput, 'devices' | 'name'>

interface Family {
  readonly description: string
  readonly cluster: Cluster
}

const v100 = {
  devicesPerNode: 8,
  device: {
    name: 'V100-SXM2-32GB',
    memory: '32 GiB',
    bandwidth: '900 GB/s',
    peak: { float32: '15.7 TFLOP/s', float16: '125 TFLOP/s' },
    matmul: { efficiency: 0.95 },
    bandwidthEfficiency: 0.95,
  },
  links: {
    node: { bandwidth: '150 GB/s', latency: '4 us', efficiency: 0.78 },
    network: { bandwidth: '50 GB/s', latency: '8 us', efficiency: 0.85 },
    host: { bandwidth: '16 GB/s' },
  },
} satisfies Cluster

const a100 = {
  devicesPerNode: 8,
  device: {
    name: 'A100-SXM4-80GB',
    memory: '80 GiB',
    bandwidth: '2000 GB/s',
    peak: { float32: '19.5 TFLOP/s', tf32: '156 TFLOP/s', float16: '312 TFLOP/s', bfloat16: '312 TFLOP/s' },
    matmul: { efficiency: 0.84 },
    bandwidthEfficiency: 0.9,
  },
  links: {
    node: { bandwidth: '300 GB/s', latency: '4 us', efficiency: 0.78 },
    network: { bandwidth: '200 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '32 GB/s' },
  },
} satisfies Cluster

const h100 = {
  devicesPerNode: 8,
  device: {
    name: 'H100-SXM5-80GB',
    memory: '80 GiB',
    bandwidth: '3350 GB/s',
    peak: { float32: '67 TFLOP/s', tf32: '494 TFLOP/s', float16: '989 TFLOP/s', bfloat16: '989 TFLOP/s' },
    matmul: { efficiency: 0.58 },
    bandwidthEfficiency: 0.75,
  },
  links: {
    node: { bandwidth: '450 GB/s', latency: '4 us', efficiency: 0.82 },
    network: { bandwidth: '400 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '64 GB/s' },
  },
} satisfies Cluster

const tpuV3 = {
  devicesPerNode: 8,
  device: {
    name: 'TPU v3 core',
    memory: '16 GiB',
    bandwidth: '450 GB/s',
    // The hardware multiplies bfloat16; a float32 product takes several of those.
    peak: { float32: '10 TFLOP/s', bfloat16: '61.5 TFLOP/s' },
  },
  links: {
    node: { bandwidth: '82 GB/s', latency: '2 us' },
    network: { bandwidth: '656 GB/s', latency: '4 us' },
  },
} satisfies Cluster

export const clusterFamilies: Readonly<Record<string, Family>> = {
  v100: { description: 'V100-SXM2-32GB, 8 a node, NVLink 2, four 100 Gb/s ports a node', cluster: v100 },
  'v100-16gb': {
    description: 'as v100, with 16 GB',
    cluster: { ...v100, device: { ...v100.device, name: 'V100-SXM2-16GB', memory: '16 GiB' } },
  },
  a100: { description: 'A100-SXM4-80GB, 8 a node, NVLink 3, eight 200 Gb/s ports a node', cluster: a100 },
  'a100-40gb': {
    description: 'as a100, with 40 GB',
    cluster: {
      ...a100,
      device: { ...a100.device, name: 'A100-SXM4-40GB', memory: '40 GiB', bandwidth: '1555 GB/s' },
    },
  },
  h100: { description: 'H100-SXM5-80GB, 8 a node, NVLink 4, eight 400 Gb/s ports a node', cluster: h100 },
  'tpu-v3': { description: 'TPU v3 cores, 16 GB each, 8 a board, in a torus', cluster: tpuV3 },
}
