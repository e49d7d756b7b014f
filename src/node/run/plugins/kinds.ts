/**
 * The kinds of plugins, and the places in a configuration that name them. A plugin stands where the name of a built-in part
 * does: as the path of a file in what a user writes, and as `own`, with name and hash beside it, in what is stored.
 */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { UsageError } from '../../../core/errors.ts'
import { ownLayers } from '../../../core/model/own/layer.ts'
import { ownRouters } from '../../../core/model/routing/own.ts'
import { ownBalances } from '../../../core/model/routing/own-balance.ts'
import type { Plugin, Plugins } from '../../../core/plugins.ts'
import { ownOptimizers } from '../../../train/step/optimizer/own.ts'
import { ownSchedules } from '../../../train/step/optimizer/own-schedule.ts'
import { isPluginPath } from './plugin-file.ts'

/** A kind of plugins, and its place in a configuration: a section with a field that says `own`, and a field `own`. */
interface Kind<T extends Plugin> {
  readonly plugins: Plugins<T>
  readonly section: readonly string[]
  /** The field that is the path of a plugin's file in a configuration that a user writes. */
  readonly field: string
  /** Whether the part is added to a configuration that has none, and so has no section. */
  readonly isAdded?: true
}

/** All kinds of plugins. */
const kinds = {
  router: { plugins: ownRouters, section: ['model', 'moe'], field: 'router' },
  balance: { plugins: ownBalances, section: ['model', 'moe', 'balance'], field: 'form' },
  layer: { plugins: ownLayers, section: ['model', 'layer'], field: 'kind', isAdded: true },
  schedule: { plugins: ownSchedules, section: ['train', 'schedule'], field: 'kind' },
  optimizer: { plugins: ownOptimizers, section: ['train', 'optimizer'], field: 'kind' },
} as const

export type PluginKind = keyof typeof kinds

/** The kinds of plugins, each with the plugin that it is. */
export type PluginOf<K extends PluginKind> = (typeof kinds)[K]['plugins'] extends Plugins<infer T> ? T : never

export const pluginKinds = Object.keys(kinds) as PluginKind[]

export const kindOf = (kind: PluginKind): Kind<Plugin> => kinds[kind] as unknown as Kind<Plugin>

/** What a plugin of a kind is, for messages. */
export const nounOf = (kind: PluginKind): string => kindOf(kind).plugins.noun

/** The article of {@link nounOf}. */
export const articleOf = (kind: PluginKind): string => (/^[aeiou]/.test(nounOf(kind)) ? 'an' : 'a')

export const pathOf = ({ section, field }: Kind<Plugin>): string => [...section, field].join('.')

/** The section of a configuration that may name a plugin; undefined if the configuration has no such section. */
export function sectionOf(fields: unknown, { section }: Kind<Plugin>): Fields | undefined {
  let found: unknown = fields
  for (const name of section) found = isFields(found) ? found[name] : undefined
  return isFields(found) ? found : undefined
}

/** The names of the plugins of a configuration, which may be unchecked. */
export const namesIn = (fields: unknown): { readonly kind: PluginKind; readonly id: string }[] =>
  pluginKinds.flatMap((kind) => {
    const { field } = kindOf(kind)
    const section = sectionOf(fields, kindOf(kind))
    return section?.[field] === 'own' && typeof section.own === 'string' ? [{ kind, id: section.own }] : []
  })

/**
 * The fields with a plugin in the place of its kind.
 * @throws UsageError if the configuration has no such place: a dense model has no router
 */
export function withPlugin(fields: Fields, kind: PluginKind, id: string): Fields {
  const { section: path, field, isAdded } = kindOf(kind)
  const section = sectionOf(fields, kindOf(kind)) ?? (isAdded && {})
  if (!section) throw new UsageError(`invalid ${kind}: the configuration has no ${path.join('.')}`)
  return replaced(fields, path, { ...section, [field]: 'own', own: id })
}

/**
 * The fields of a run without the plugins, and their settings, that given fields replace: another router has neither the
 * name nor the settings of the one before.
 */
export function withoutReplaced(ofRun: Fields, given: Fields): Fields {
  let result = ofRun
  for (const kind of pluginKinds) {
    const { section: path, field } = kindOf(kind)
    const section = sectionOf(result, kindOf(kind))
    const change = sectionOf(given, kindOf(kind))
    if (!section?.own || change?.[field] === undefined || change.own === section.own) continue
    const { own: _, settings, ...rest } = section
    result = replaced(result, path, { ...rest, own: null, ...(isFields(settings) && { settings: {} }) })
  }
  return result
}

export function replaced(fields: Fields, [name = '', ...rest]: readonly string[], section: Fields): Fields {
  return { ...fields, [name]: rest.length === 0 ? section : replaced(fields[name] as Fields, rest, section) }
}

/** The field of a configuration that is the path of a plugin's file; undefined if there is none. */
export const pluginPathIn = (fields: Fields): string | undefined => {
  const kind = pluginKinds.find((kind) => isPluginPath(sectionOf(fields, kindOf(kind))?.[kindOf(kind).field]))
  return kind && pathOf(kindOf(kind))
}
