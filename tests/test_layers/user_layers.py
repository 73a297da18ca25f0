"""The text of a module of Python layers, as users write them for pycaffe."""

CLASSES = """
    import caffe
    import numpy as np

    calls = []

    class Difference(caffe.Layer):
        '''Half the mean squared difference of two bottoms, as people wrote it for pycaffe.'''
        def setup(self, bottom, top):
            if len(bottom) != 2:
                raise ValueError("needs two bottoms")
            self.factor = float(self.param_str or 1)
        def reshape(self, bottom, top):
            if bottom[0].count != bottom[1].count:
                raise Exception("Inputs must have the same dimension.")
            self.diff = np.zeros_like(bottom[0].data, dtype=bottom[0].data.dtype)
            top[0].reshape(1)
        def forward(self, bottom, top):
            self.diff[...] = bottom[0].data - bottom[1].data
            top[0].data[...] = self.factor * np.sum(self.diff ** 2) / bottom[0].num / 2.
        def backward(self, top, propagate_down, bottom):
            for i, sign in enumerate((1, -1)):
                if propagate_down[i]:
                    bottom[i].diff[...] = self.factor * sign * self.diff / bottom[i].num * top[0].diff

    class Learned(caffe.Layer):
        def setup(self, bottom, top):
            self.blobs.add_blob(2, 3)
            self.blobs[0].data[...] = 5
        def reshape(self, bottom, top):
            top[0].reshape(*self.blobs[0].shape)
        def forward(self, bottom, top):
            top[0].data[...] = self.blobs[0].data
        def backward(self, top, propagate_down, bottom):
            self.blobs[0].diff[...] = top[0].diff

    class Images(caffe.Layer):
        '''Like FCN's data layers: the next image is loaded in reshape.'''
        def setup(self, bottom, top):
            calls.append("setup")
            self.count = 0
        def reshape(self, bottom, top):
            calls.append("reshape")
            self.count += 1
            top[0].reshape(1, 1, self.count, 2)
        def forward(self, bottom, top):
            calls.append("forward")
            top[0].data[...] = self.count
        def backward(self, top, propagate_down, bottom):
            pass
        def state(self):
            return {"count": self.count}
        def load_state(self, state):
            self.count = state["count"]

    class Phase(caffe.Layer):
        def reshape(self, bottom, top):
            top[0].reshape()
        def forward(self, bottom, top):
            top[0].data[...] = self.phase

    class Faulty(caffe.Layer):
        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].shape)
        def forward(self, bottom, top):
            raise KeyError("the user's own")

    class Writer(Faulty):
        def forward(self, bottom, top):
            bottom[0].data[...] = 0

    class Add(Faulty):
        '''In place: adds to whatever the top already holds.'''
        def forward(self, bottom, top):
            top[0].data[...] += 1
        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] *= 2

    class LargestFirst(caffe.Layer):
        '''Sizes that depend on the bottom's values.'''
        def reshape(self, bottom, top):
            top[0].reshape(max(1, int(bottom[0].data.max())))
        def forward(self, bottom, top):
            top[0].data[...] = 7

    NotAClass = 3
"""
