"""The vocabulary: messages of the schema, text, files of weights, errors."""

if __name__ != "demitasse.proto":  # a checkout on the path: another package's `proto` may be what was meant
    raise ModuleNotFoundError("this folder is Demitasse's: import demitasse.proto", name=__name__)
