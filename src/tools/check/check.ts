/** The result of the checks of a plugin. */
import type { PluginKind } from '../../node/run/plugins/kinds.ts'

export interface Check {
  readonly name: string
  readonly passed: boolean
  /** What was found. */
  readonly found: string
}

export interface PluginCheck {
  readonly part: PluginKind
  /** Name and hash. */
  readonly id: string
  readonly checks: readonly Check[]
  /** Its time over that of a built-in part, in the same place; null if a check failed, or time does not matter. */
  readonly time: { readonly over: string; readonly ratio: number } | null
}

export interface PluginFileCheck extends PluginCheck {
  /** Why other commands will not find the plugin; null if they will. */
  readonly warning: string | null
}
