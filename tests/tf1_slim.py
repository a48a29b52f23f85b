"""ResNetV2 written once more, as a TF1 graph with sessions: what the course's is held to.

Nothing is shared with `course_utils`. Variables are named as slim's layers named them, and
their values are drawn, moving statistics included, so that each of them matters.
"""

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
UPDATE_OPS, PENALTIES = tf1.GraphKeys.UPDATE_OPS, tf1.GraphKeys.REGULARIZATION_LOSSES


class Slim:
    """The graph of one network, with a session; `values` are its variables by name."""

    def __init__(
        self,
        blocks,
        num_classes,
        input_shape,
        *,
        global_pool=True,
        include_root_block=True,
        training=False,
        decay=0.997,
        scope="resnet_v2",
        seed=0,
    ):
        self.rng, self.training, self.decay = np.random.default_rng(seed), training, decay
        self.end_points, self.scope = {}, scope
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.images = tf1.placeholder(tf.float32, (None, *input_shape))
            self.labels = tf1.placeholder(tf.int64, (None,))
            with tf1.variable_scope(scope):
                self.logits = self.network(blocks, num_classes, global_pool, include_root_block)
            if num_classes is not None:
                self.end_points[f"{scope}/logits"] = self.logits
                self.end_points["predictions"] = tf.nn.softmax(self.logits)
            self.session = tf1.Session(graph=self.graph)
            self.session.run(tf1.global_variables_initializer())
        self.variables = {v.op.name: v for v in self.graph.get_collection("variables")}

    def variable(self, name, shape, kind, trainable=True):
        values = self.rng.normal(size=shape)
        if kind == "positive":
            values = 0.5 + np.abs(values)
        if kind == "kernel":
            values *= (2 / np.prod(shape[:3])) ** 0.5
        values = (0.3 * values if kind == "small" else values).astype(np.float32)
        return tf1.get_variable(name, initializer=values, trainable=trainable)

    def batch_norm(self, x, name):
        with tf1.variable_scope(name):
            shape = (x.shape[-1],)
            gamma = self.variable("gamma", shape, "positive")
            beta = self.variable("beta", shape, "small")
            mean = self.variable("moving_mean", shape, "small", trainable=False)
            variance = self.variable("moving_variance", shape, "positive", trainable=False)
        if not self.training:
            scaled = (x - mean) / tf.sqrt(variance + 1e-5)
            return tf.nn.relu(scaled * gamma + beta)
        now = tf.reduce_mean(x, (0, 1, 2))
        spread = tf.reduce_mean((x - now) ** 2, (0, 1, 2))
        n = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
        for average, value in ((mean, now), (variance, spread * n / (n - 1))):
            update = average.assign(self.decay * average + (1 - self.decay) * value)
            tf1.add_to_collection(UPDATE_OPS, update)
        return tf.nn.relu((x - now) / tf.sqrt(spread + 1e-5) * gamma + beta)

    def conv(self, x, channels, size, stride, name, normalize):
        with tf1.variable_scope(name) as scope:
            kernel = self.variable("weights", (size, size, x.shape[-1], channels), "kernel")
            tf1.add_to_collection(PENALTIES, 1e-4 * tf.nn.l2_loss(kernel))
            pad = (size - 1) // 2
            x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
            x = tf.nn.conv2d(x, kernel, stride, "VALID")
            if normalize:
                x = self.batch_norm(x, "BatchNorm")
            else:
                x = x + self.variable("biases", (channels,), "small")
            self.end_points[scope.name] = x
        return x

    def unit(self, x, depth, inner, stride):
        with tf1.variable_scope("bottleneck_v2") as scope:
            preact = self.batch_norm(x, "preact")
            if depth == x.shape[-1]:
                shortcut = x[:, ::stride, ::stride]
            else:
                shortcut = self.conv(preact, depth, 1, stride, "shortcut", False)
            residual = self.conv(preact, inner, 1, 1, "conv1", True)
            residual = self.conv(residual, inner, 3, stride, "conv2", True)
            residual = self.conv(residual, depth, 1, 1, "conv3", False)
            self.end_points[scope.name] = shortcut + residual
        return shortcut + residual

    def network(self, blocks, num_classes, global_pool, include_root_block):
        x = self.images
        if include_root_block:
            x = self.conv(x, 64, 7, 2, "conv1", False)
            x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        for name, units in blocks:
            with tf1.variable_scope(name) as scope:
                for i, unit in enumerate(units, start=1):
                    with tf1.variable_scope(f"unit_{i}"):
                        x = self.unit(x, *unit)
                self.end_points[scope.name] = x
        x = self.batch_norm(x, "postnorm")
        if global_pool:
            x = tf.reduce_mean(x, (1, 2), keepdims=True)
        return x if num_classes is None else self.conv(x, num_classes, 1, 1, "logits", False)

    def run(self, fetches, images, labels=None):
        feed = {self.images: images}
        return self.session.run(
            fetches, feed | ({} if labels is None else {self.labels: labels})
        )

    def values(self):
        return self.session.run(self.variables)

    def train(self, images, labels, rate=0.1):
        """Take one step with momentum; return the loss and the gradients by name."""
        with self.graph.as_default():
            flat = tf.reshape(self.logits, (-1, self.logits.shape[-1]))
            loss = tf1.losses.sparse_softmax_cross_entropy(self.labels, flat)
            loss += tf.add_n(tf1.get_collection(PENALTIES))
            trained = tf1.trainable_variables()
            names = [variable.op.name for variable in trained]
            gradients = dict(zip(names, tf.gradients(loss, trained), strict=True))
            updates = tf1.get_collection(UPDATE_OPS)
            return self.run((loss, gradients, updates), images, labels)[:2]

    def save(self, path, extra=(), **arguments):
        """Write a checkpoint by the Saver; `extra` has names and values that are put beside."""
        with self.graph.as_default():
            more = [tf1.Variable(value, name=name) for name, value in extra]
            self.session.run([variable.initializer for variable in more])
            saver = tf1.train.Saver([*self.variables.values(), *more], **arguments)
            return saver.save(self.session, str(path))

    def restore(self, path):
        with self.graph.as_default():
            tf1.train.Saver([*self.variables.values()]).restore(self.session, str(path))
