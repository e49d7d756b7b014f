import type { RouterInfo } from '../../../src/faces/watch/api.ts'

/** Names of routers: `3`, or `3 qkv` if modules of several kinds are routed. */
export function routerNames(routers: readonly Pick<RouterInfo, 'layer' | 'module'>[]): string[] {
  const isUniform = new Set(routers.map(({ module }) => module)).size < 2
  return routers.map(({ layer, module }) => (isUniform ? String(layer) : `${layer} ${module}`))
}
