package capture

// Prefix starts the annotations of a pod that are this program's own.
const Prefix = "meshtables.github.io/"

// ExcludedUIDs is the annotation for the option of that name, which no mesh has.
const ExcludedUIDs = Prefix + "excluded-uids"
