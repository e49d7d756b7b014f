/**
 * Plugins: programs of a user's own in the place of a part of the model or of the training. A configuration names one by
 * its name and the hash of its program, so that a run is always continued and evaluated with the plugin that it was
 * trained with. The plugin must be registered before something that has it is traced or trained.
 */
import { UsageError } from './errors.ts'

/** Name of a plugin in a configuration: its name, and the first 16 hexadecimal digits of the SHA-256 of its program. */
export const PLUGIN_ID = /^[a-z][a-z0-9-]{0,39}@[0-9a-f]{16}$/

/** A plugin has a name of lower-case letters, digits and hyphens, from a letter on. */
export interface Plugin {
  readonly name: string
}

/**
 * What a field of a plugin must be: a function, or, if it is there, a function, settings (numbers, text, true or false)
 * or one of some words.
 */
export type PluginField = 'function' | 'optional function' | 'optional settings' | readonly string[]

/** Settings that a plugin has of its own, by name, each with its default; or values that a configuration gives them. */
export type PluginSettings = Readonly<Record<string, number | string | boolean>>

type PluginFields<T> = Readonly<Record<Exclude<keyof T & string, 'name'>, PluginField>>

/** The plugins of one kind that are registered in this process. */
export class Plugins<T extends Plugin> {
  private readonly registered = new Map<string, T>()
  readonly noun: string
  readonly fields: PluginFields<T>
  private readonly checked: (plugin: T) => T

  /**
   * @param noun What a plugin of this kind is, for messages: `router`.
   * @param fields The fields that a plugin has besides its name.
   * @param checked Adds checks of what the plugin's functions return, so that a mistake is reported where it is made.
   */
  constructor(noun: string, fields: PluginFields<T>, checked: (plugin: T) => T) {
    this.noun = noun
    this.fields = fields
    this.checked = checked
  }

  /** Makes a plugin known under its name in configurations. */
  register(id: string, plugin: T): void {
    if (!PLUGIN_ID.test(id)) throw new Error(`internal: no name of a plugin: ${id}`)
    this.registered.set(id, this.checked(plugin))
  }

  has(id: string): boolean {
    return this.registered.has(id)
  }

  /** @throws UsageError if it is not registered */
  get(id: string | null): T {
    const plugin = id === null ? undefined : this.registered.get(id)
    if (!plugin) throw new UsageError(`the ${this.noun} ${id} is not loaded: it is a program of its own`)
    return plugin
  }
}
