/**
 * Names of the environment variables of Choir that are set, such as CHOIR_DNNL. All ranks need the same values, except
 * for CHOIR_MPI, a path that may differ between machines, and CHOIR_GPU.
 */
export const choirVariables = (env: Readonly<Record<string, string | undefined>>): string[] =>
  Object.keys(env)
    .filter((name) => /^CHOIR_\w+$/.test(name) && env[name] !== undefined)
    .sort()
