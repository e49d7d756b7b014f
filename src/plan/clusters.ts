/**
 * Clusters by name: `v100-480` is 480 V100s. Peaks, memory and bandwidths are those of the vendors' data sheets;
 * efficiencies are fitted, see docs/planner.md.
 */
import type { ClusterInput } from './cluster.ts'

interface Family {
  readonly description: string
  readonly cluster: Omit<ClusterInput, 'devices' | 'name'>
}

export const clusterFamilies: Readonly<Record<string, Family>> = {
  v100: {
    description: 'V100-SXM2-32GB, 8 a node, NVLink 2, one 100 Gb/s port for two devices',
    cluster: {
      devicesPerNode: 8,
      device: {
        name: 'V100-SXM2-32GB',
        memory: '32 GiB',
        bandwidth: '900 GB/s',
        peak: { float32: '15.7 TFLOP/s', float16: '125 TFLOP/s' },
      },
      links: {
        node: { bandwidth: '150 GB/s', latency: '4 us' },
        network: { bandwidth: '50 GB/s', latency: '8 us' },
        host: { bandwidth: '12 GB/s' },
      },
    },
  },
  a100: {
    description: 'A100-SXM4-80GB, 8 a node, NVLink 3, a 200 Gb/s port each',
    cluster: {
      devicesPerNode: 8,
      device: {
        name: 'A100-SXM4-80GB',
        memory: '80 GiB',
        hostMemory: '128 GB',
        bandwidth: '2039 GB/s',
        peak: { float32: '19.5 TFLOP/s', tf32: '156 TFLOP/s', float16: '312 TFLOP/s', bfloat16: '312 TFLOP/s' },
      },
      links: {
        node: { bandwidth: '300 GB/s', latency: '4 us' },
        network: { bandwidth: '200 GB/s', latency: '6 us' },
        host: { bandwidth: '25 GB/s' },
      },
    },
  },
  h100: {
    description: 'H100-SXM5-80GB, 8 a node, NVLink 4, a 400 Gb/s port each',
    cluster: {
      devicesPerNode: 8,
      device: {
        name: 'H100-SXM5-80GB',
        memory: '80 GiB',
        hostMemory: '256 GB',
        bandwidth: '3350 GB/s',
        peak: { float32: '67 TFLOP/s', tf32: '494 TFLOP/s', float16: '989 TFLOP/s', bfloat16: '989 TFLOP/s' },
      },
      links: {
        node: { bandwidth: '450 GB/s', latency: '4 us' },
        network: { bandwidth: '400 GB/s', latency: '6 us' },
        host: { bandwidth: '50 GB/s' },
      },
    },
  },
  'tpu-v3': {
    description: 'TPU v3 cores, 16 GB each, 8 a board, in a torus',
    cluster: {
      devicesPerNode: 8,
      device: {
        name: 'TPU v3 core',
        memory: '16 GiB',
        bandwidth: '450 GB/s',
        peak: { float32: '3.8 TFLOP/s', bfloat16: '61.5 TFLOP/s' },
      },
      links: {
        node: { bandwidth: '82 GB/s', latency: '2 us' },
        network: { bandwidth: '656 GB/s', latency: '4 us' },
      },
    },
  },
}
