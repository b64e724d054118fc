"""What states are called in a graph: by the path of their module, or the variable that holds them."""

from __future__ import annotations

from graphc.tracing.guards import Reads


def state_names(reads: Reads) -> dict[int, str]:
    """Names by the identity of storages. Parameters of the only module with state are called by their path alone;
    those of several carry the name of the module's variable in front."""
    names: dict[int, str] = {}
    for label, tensor in reads.tensors.items():
        names.setdefault(id(tensor._storage), label)
    held = {label: [*module.named_parameters(), *module.named_buffers()] for label, module in reads.modules.items()}
    roots: dict[str, set[int]] = {}
    for label, tensors in sorted(held.items(), key=lambda pair: -len(pair[1])):
        found = {id(tensor._storage) for _, tensor in tensors}
        if found and not any(found <= other for other in roots.values()):
            roots[label] = found
    for label, tensors in held.items():
        if label in roots:
            prefix = f"{label.removeprefix('self.')}." if len(roots) > 1 and label != "self" else ""
            for path, tensor in tensors:
                names[id(tensor._storage)] = names.get(id(tensor._storage), prefix + path)
    return names
